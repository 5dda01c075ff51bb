"""The training state, the optimizer, and the application of a gradient."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
import optax

from empg_jax.distributed import sharding
from empg_jax.models.decoder import Decoder
from empg_jax.models.lora import Adapters
from empg_jax.models.value_head import ValueHead


class ActorCritic(NamedTuple):
  """The trained modules where values are estimated too."""

  model: Decoder | Adapters
  value_head: ValueHead


Trained = Decoder | Adapters | ActorCritic


class TrainState(NamedTuple):
  """The trained modules, the optimizer's state, and counts of updates done and skipped."""

  model: Decoder | Adapters
  opt_state: Any
  """optax.OptState: the moments and counts."""
  step: Int[Array, ""]
  skipped: Int[Array, ""]
  """Updates skipped in a row because loss or gradient was not finite; 0 after a finite one."""
  value_head: ValueHead | None = None
  sampler: Decoder | Adapters | None = None
  """In a checkpoint of a run with rollout.ahead=1: the model that plays the next step."""

  @property
  def trained(self) -> Trained:
    """The pytree that gradients are taken with respect to."""
    return self.model if self.value_head is None else ActorCritic(self.model, self.value_head)


def parts(trained: Trained) -> tuple[Decoder | Adapters, ValueHead | None]:
  """The model, and the value head where there is one."""
  return tuple(trained) if isinstance(trained, ActorCritic) else (trained, None)


def create(
  model: Decoder | Adapters,
  optimizer: optax.GradientTransformation,
  value_head: ValueHead | None = None,
) -> TrainState:
  """The state before the first update."""
  state = TrainState(model, (), jnp.int32(0), jnp.int32(0), value_head)
  return state._replace(opt_state=optimizer.init(state.trained))


def copy(model: Decoder | Adapters) -> Decoder | Adapters:
  """Copies the parameters: the arrays of a state are donated."""
  return jax.tree.map(jnp.copy, model)


def make_optimizer(
  *,
  learning_rate: float,
  warmup_steps: int = 0,
  decay_steps: int = -1,
  total_steps: int = 0,
  weight_decay: float = 0.01,
  b1: float = 0.9,
  b2: float = 0.999,
  clip_norm: float = 1.0,
) -> optax.GradientTransformation:
  """AdamW after clipping of the global gradient norm.

  The state has the same structure for all values, so that each can change when a run goes on.

  Args:
    learning_rate: after the warm-up.
    warmup_steps: over which it rises linearly from 0; fewer than decay_steps (bounds.check).
    decay_steps: the step at which a cosine decay reaches a tenth; 0: no decay; -1: the run's
      last step, or no decay if the run ends within the warm-up. These are optimizer steps: a
      batch of n minibatches has n.
    total_steps: of the run.
    weight_decay: decoupled, on matrices only.
    b1, b2: of the moments.
    clip_norm: largest global norm of a gradient.
  """
  if decay_steps < 0:
    decay_steps = total_steps if total_steps > warmup_steps else 0
  if decay_steps:
    schedule = optax.warmup_cosine_decay_schedule(
      0.0, learning_rate, warmup_steps, decay_steps, learning_rate / 10
    )
  elif warmup_steps:
    schedule = optax.linear_schedule(0.0, learning_rate, warmup_steps)
  else:
    schedule = optax.constant_schedule(learning_rate)
  return optax.chain(
    optax.clip_by_global_norm(clip_norm),
    optax.adamw(schedule, b1=b1, b2=b2, weight_decay=weight_decay, mask=_matrices),
  )


def _matrices(trained: Trained) -> Any:
  is_matrix = lambda path, _: not any(s in jax.tree_util.keystr(path) for s in ("norm", "bias"))
  return jax.tree_util.tree_map_with_path(is_matrix, trained)


def apply_gradient(
  state: TrainState,
  optimizer: optax.GradientTransformation,
  gradient: Trained,
  loss: Float[Array, ""],
) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
  """One optimizer step, skipped if the loss or the gradient is not finite.

  A skipped step leaves parameters and moments unchanged; `TrainState.skipped` counts those in a
  row, so that the training loop can stop.
  """
  norm = optax.tree.norm(gradient)
  finite = jnp.isfinite(loss) & jnp.isfinite(norm)
  updates, opt_state = optimizer.update(gradient, state.opt_state, state.trained)
  trained = optax.apply_updates(state.trained, updates)
  keep = lambda new, old: jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, old)
  model, value_head = parts(keep(trained, state.trained))
  new = TrainState(
    model,
    keep(opt_state, state.opt_state),
    state.step + 1,
    jnp.where(finite, 0, state.skipped + 1),
    value_head,
  )
  counted = {"update/grad_norm": norm, "update/finite": finite.astype(jnp.float32)}
  return sharding.constrain(new), counted
