"""The update as one XLA program: token statistics, modulation, backward, optimizer."""

from collections.abc import Callable
import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
import optax

from empg_jax.algorithms import Algorithm, Signal
from empg_jax.core.mismatch import truncated_ratio
from empg_jax.models import lora
from empg_jax.models.decoder import Decoder
from empg_jax.training import microbatch
from empg_jax.training.score import Scores, scores
from empg_jax.training.state import TrainState, apply_gradient, parts
from empg_jax.types import Batch, Metrics, TokenStats

Entropies = Literal["rollout", "recomputed"]


@functools.partial(
  jax.jit,
  static_argnames=(
    "algorithm", "optimizer", "entropies", "truncation", "size", "minibatches", "epochs",
    "lengths", "temperature", "compute_dtype", "remat",
  ),
  donate_argnames=("state",),
)  # fmt: skip
def train_step(
  state: TrainState,
  batch: Batch,
  reference: Decoder | None = None,
  base: Decoder | None = None,
  *,
  algorithm: Algorithm,
  optimizer: optax.GradientTransformation,
  size: int,
  minibatches: int = 1,
  epochs: int = 1,
  lengths: tuple[int, ...] = (),
  temperature: float = 1.0,
  entropies: Entropies = "rollout",
  truncation: float = 0.0,
  compute_dtype: str = "float32",
  remat: bool = False,
) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
  """The update of the policy on one batch.

  Args:
    state: donated; has a value head if and only if the algorithm trains one.
    batch: padded episodes; filler rows do not count.
    reference: the frozen policy of the algorithm's KL penalty, if any; None: the base.
    base: the frozen decoder of the state's adapters, if any.
    algorithm: its advantages are computed once, over the whole batch.
    optimizer: the one that the state was created with.
    size: rows in a microbatch.
    minibatches: optimizer steps per epoch, each on its share of the rows; size x minibatches
      divides B.
    epochs: passes over the minibatches.
    lengths: that a microbatch of short rows may be cut to.
    temperature: of the sampling, so that probabilities are those of the samples.
    entropies: "rollout": recorded while sampling; "recomputed": from a first, forward-only
      pass of the current policy over the batch.
    truncation: 0: none. Otherwise each token's advantage is multiplied by the ratio of that
      pass's probability to the recorded one, at most this; the policy ratio is then relative
      to the pass. See core.mismatch, whose metrics come with any such pass.
    compute_dtype: operand type of the matrix products.
    remat: recompute layers in the backward pass rather than keep their activations.

  Returns:
    The new state, and metrics, float32 scalars, means over the minibatches of all epochs.
  """
  microbatch.check(batch.tokens.shape[0], size, minibatches)
  check_head(algorithm, state)
  score = functools.partial(
    scores, temperature=temperature, compute_dtype=compute_dtype, remat=remat
  )
  of_policy = functools.partial(score, lora.attach(base, state.model), state.value_head)
  batch, entropy, ratio, mismatch = behavior(
    of_policy, batch, size, entropies, truncation, algorithm.value_loss is not None
  )
  signal, metrics = algorithm.advantages(batch, entropy)

  def loss(trained, rows):
    rows, signal = rows
    model, value_head = parts(trained)
    reference_logprobs = None
    if algorithm.uses_reference:
      of_reference = score(base if reference is None else reference, None, rows).stats
      reference_logprobs = jax.lax.stop_gradient(of_reference.logprobs)
    scored = score(lora.attach(base, model), value_head, rows)
    return total_loss(algorithm, scored, signal, rows, reference_logprobs)

  def update(state, pieces):
    sums, gradient = microbatch.sum_gradients(
      loss, state.trained, pieces, structure, lengths=lengths
    )
    state, applied = apply_gradient(state, optimizer, gradient, sums["loss/total"])
    return state, {**sums, **applied}

  weights = microbatch.share(signal.weights, signal.votes, size, minibatches)
  shares = signal._replace(weights=weights, advantages=signal.advantages * ratio)
  structure = jax.tree.structure((batch, shares))
  pieces = microbatch.split((batch, shares), batch.steps > 0, size)
  pieces = pieces.minibatches(minibatches)
  epoch = lambda state, _: jax.lax.scan(update, state, pieces)
  state, updates = jax.lax.scan(epoch, state, length=epochs)
  updates = {name: jnp.mean(x) for name, x in updates.items()}
  skipped = {"update/skipped": state.skipped.astype(jnp.float32)}
  return state, {**metrics, **mismatch, **updates, **skipped}


def check_head(algorithm: Algorithm, state: TrainState) -> None:
  """Raises ValueError unless the state has a value head exactly if the algorithm trains one."""
  if (algorithm.value_loss is None) != (state.value_head is None):
    has, does = ("no", "does") if state.value_head is None else ("a", "does not")
    raise ValueError(
      f"The state has {has} value head and the algorithm {does} estimate values: give"
      " training.state.create a value_head for such an algorithm, and for no other."
    )


def total_loss(
  algorithm: Algorithm,
  scored: Scores,
  signal: Signal,
  rows: Batch,
  reference_logprobs: Float[Array, "B T"] | None,
) -> tuple[Float[Array, ""], Metrics]:
  """The policy loss, plus the value loss where there are values."""
  total, metrics = algorithm.loss(scored.stats, signal, rows, reference_logprobs)
  if scored.values is None:
    return total, metrics
  of_values, more = algorithm.value_loss(scored.values, signal, rows)
  return total + of_values, {**metrics, **more, "loss/total": total + of_values}


def behavior(
  score: Callable[..., Scores],
  batch: Batch,
  size: int,
  entropies: Entropies,
  truncation: float,
  with_values: bool,
) -> tuple[Batch, Float[Array, "B T"], Float[Array, "B T"] | float, Metrics]:
  """The behaviour policy's statistics: recorded, or recomputed before the update.

  Returns the batch with its log-probabilities, and with values if `with_values`; its entropies;
  the factor of the advantages; and metrics.
  """
  recorded = TokenStats(batch.behavior_logprobs, batch.behavior_entropy)
  with_stats = entropies == "recomputed" or truncation > 0
  if not with_stats and not with_values:
    return batch, recorded.entropy, 1.0, {}
  score = functools.partial(score, with_stats=with_stats)
  computed, values = recompute(score, batch, size)
  batch = dataclasses.replace(batch, values=values)
  if computed is None:
    return batch, recorded.entropy, 1.0, {}
  ratio, metrics = truncated_ratio(computed, recorded, batch.steps > 0, truncation or float("inf"))
  entropy = computed.entropy if entropies == "recomputed" else recorded.entropy
  if not truncation:
    return batch, entropy, 1.0, metrics
  batch = dataclasses.replace(batch, behavior_logprobs=computed.logprobs)
  return batch, entropy, ratio, metrics


def recompute(score: Callable[[Batch], Scores], batch: Batch, size: int) -> Scores:
  """Scores the batch with the current policy, `size` rows at a time."""
  structure = jax.tree.structure(batch)
  pieces = microbatch.split(batch, batch.steps > 0, size)
  computed = jax.lax.map(lambda x: score(structure.unflatten(x)), pieces.leaves)
  return jax.tree.map(microbatch.join, computed)
