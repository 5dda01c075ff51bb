"""Advantages from estimated values, over the steps of an episode, and the value loss.

    delta_t = r_t + gamma V_{t+1} - V_t
    A_t     = delta_t + gamma lam A_{t+1}      generalised advantage estimation, arXiv 1506.02438

V_t is the value head's output at the position from which the step's first token is drawn,
after all observations so far. Its other outputs are not used, so the lengths of
observations and replies do not matter.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from empg_jax.core import explicit_mesh, masked, steps as grids, validation
from empg_jax.core.advantages import group_advantages
from empg_jax.types import Metrics, Scalar


class Estimates(NamedTuple):
  """Float32, equal on all tokens of a step; 0 on tokens that are not the agent's."""

  advantages: Float[Array, "B T"]
  """A, normalised to mean 0 and deviation 1 over all steps."""
  values: Float[Array, "B T"]
  """V."""
  targets: Float[Array, "B T"]
  """V + A, the target of V: for lam 1 the discounted return."""


@jax.jit
def gae(
  rewards: Float[Array, "B T"],
  values: Float[Array, "B T"],
  steps: Int[Array, "B T"],
  episode_ids: Int[Array, "B"],
  *,
  gamma: Scalar,
  lam: Scalar,
) -> Estimates:
  """The equations above.

  Args:
    rewards: the reward of the step that a token belongs to.
    values: of the state in which each token was chosen; read at the first of each step.
    steps: 0: not the agent's token; s >= 1: a token of its episode's step s.
    episode_ids: the episode of each row.
    gamma: the discount per step.
    lam: 1: whole returns, unbiased; 0: one reward and the next value, lowest variance.
  """
  validation.integers("steps", steps)
  validation.shape("values", values, ("[B, T]", steps.shape))
  validation.ids("episode_ids", episode_ids, steps.shape[0])

  def on_steps(
    rewards: Array, values: Array, steps: Array, episode_ids: Array, gamma: Scalar, lam: Scalar
  ) -> tuple[Array, ...]:
    grid = grids.step_grid(steps, episode_ids)
    r, v = grids.step_value(rewards, grid), grids.step_first(values, grid)
    delta = r + gamma * grids.next_step(v, grid) - v
    a = grids.returns_to_go(delta, grid, gamma * lam)
    one_group = jnp.zeros(a.shape[1], jnp.int32)
    normal = group_advantages(a[0], one_group, exists=grid.exists[0])[None]
    return tuple(grids.to_tokens(x, grid, steps.shape) for x in (normal, v, v + a))

  arrays = jax.lax.stop_gradient((rewards, values, steps, episode_ids, gamma, lam))
  return Estimates(*explicit_mesh.automatic(on_steps, *arrays, like=(rewards,) * 3))


def fit(estimates: Estimates, steps: Int[Array, "B T"]) -> Metrics:
  """How well values predicted their targets, over the agent's tokens.

  value/explained_variance is 1 - Var(target - V) / Var(target): 1 for values that are right
  up to a constant, 0 for values as good as a constant, negative for worse.
  """
  mask = steps > 0
  _, values, targets = estimates
  left = masked.std(targets - values, mask) ** 2
  return {
    "value/mean": masked.mean(values, mask),
    "value/target_mean": masked.mean(targets, mask),
    "value/explained_variance": 1 - left / (masked.std(targets, mask) ** 2 + 1e-8),
  }


def clipped_value_loss(
  values: Float[Array, "B T"],
  targets: Float[Array, "B T"],
  weights: Float[Array, "B T"],
  steps: Int[Array, "B T"],
  *,
  old_values: Float[Array, "B T"],
  clip: float,
) -> tuple[Float[Array, ""], Metrics]:
  """Half the squared error of each step's value, clipped around its old value.

      loss = sum_t w_t max((V - target)^2, (V_old + clip(V - V_old, -clip, clip) - target)^2) / 2

  Args:
    values: of the head in training; only the value at a step's first token is read, the
      others may hold anything, NaN included.
    targets: on all tokens of a step.
    weights: see `weighting.token_weights`; a step has the sum of its tokens' weights.
    steps: as in `gae`.
    old_values: the values that the targets were computed from.
    clip: how far a value may move in one batch's updates; 0: no bound.

  Returns:
    The loss, and metrics. All are weighted sums over tokens: add them up over microbatches.
  """

  def of_steps(steps: Array, *read: Array) -> tuple[Array, ...]:
    grid = grids.step_grid(steps)
    return tuple(grids.to_tokens(grids.step_first(x, grid), grid, steps.shape) for x in read)

  values, old = explicit_mesh.automatic(of_steps, steps, values, old_values, like=(values,) * 2)
  old, targets = jax.lax.stop_gradient((old, jnp.where(steps > 0, targets, 0)))
  error, clipped = (values - targets) ** 2, jnp.zeros_like(values, bool)
  if clip:
    held = (old + jnp.clip(values - old, -clip, clip) - targets) ** 2
    error, clipped = jnp.maximum(error, held), held > error
  loss = jnp.sum(weights * error) / 2
  fraction = jnp.sum(jnp.where(clipped, weights, 0))
  metrics = {"loss/value": loss, "loss/value_clip_fraction": fraction}
  return loss, jax.lax.stop_gradient(metrics)
