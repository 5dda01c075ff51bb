"""Advantages before modulation: an episode's or a step's return relative to its group."""

from collections.abc import Callable
import functools
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from empg_jax.core import explicit_mesh, steps as grids, validation
from empg_jax.types import Scalar

Ddof = Literal[0, 1]


@functools.partial(jax.jit, static_argnames=("scale_by_std", "ddof"))
def group_advantages(
  returns: Float[Array, "B"],
  group_ids: Int[Array, "B"],
  *,
  episode_ids: Int[Array, "B"] | None = None,
  exists: Bool[Array, "B"] | None = None,
  scale_by_std: bool = True,
  ddof: Ddof = 0,
  eps: Scalar = 1e-6,
) -> Float[Array, "B"]:
  """A = (r - mean of the group) / (std of the group + eps), as in GRPO.

  An episode alone in its group has A = 0; in verl and verl-agent it keeps its return.

  Args:
    returns: the return r of each row's episode; any integer or float dtype.
    group_ids: any integers; the rows of one task share one.
    episode_ids: the episode of each row, where episodes have several rows; an
      episode counts once. None: every row is its own episode.
    exists: False on filler rows, which do not count. None: all exist.
    scale_by_std: whether to divide by the standard deviation.
    ddof: 0: the population's deviation, over n episodes; 1: the sample's, over n - 1, as in
      verl and verl-agent: A is 7% smaller in a group of 8.
    eps: keeps the division finite.

  Returns:
    Float32 [B]; 0 on filler rows, exactly 0 in groups of equal returns.
  """
  if ddof not in (0, 1):
    raise ValueError(f"ddof is {ddof}; it must be 0 or 1.")
  centred, std, votes = _within_groups(returns, group_ids, episode_ids, exists, eps)
  if ddof:
    std *= jnp.sqrt(votes / jnp.maximum(votes - 1, 1))
  return centred / (std + eps) if scale_by_std else centred


@jax.jit
def leave_one_out_advantages(
  returns: Float[Array, "B"],
  group_ids: Int[Array, "B"],
  *,
  episode_ids: Int[Array, "B"] | None = None,
  exists: Bool[Array, "B"] | None = None,
) -> Float[Array, "B"]:
  """A = r - mean of the other episodes of the group, as in RLOO; 0 for an episode alone.

  Arguments and result are those of `group_advantages`.
  """
  centred, _, votes = _within_groups(returns, group_ids, episode_ids, exists, 1e-6)
  return centred * votes / jnp.maximum(votes - 1, 1)


@functools.partial(jax.jit, static_argnames="baseline")
def step_advantages(
  rewards: Float[Array, "B T"],
  steps: Int[Array, "B T"],
  group_ids: Int[Array, "B T"],
  episode_ids: Int[Array, "B"],
  *,
  gamma: Scalar,
  baseline: Callable[..., Float[Array, "N"]] = group_advantages,
) -> Float[Array, "B T"]:
  """The discounted return of each step relative to the steps of its group.

      G_t = r_t + gamma G_{t+1},  A_t = baseline of G_t, each step counted once

  Args:
    rewards: the reward of the step that a token belongs to.
    steps: 0: not the agent's token; s >= 1: a token of its episode's step s.
    group_ids: the group of the step that a token belongs to; any positive integers.
    episode_ids: the episode of each row.
    gamma: the discount per step.
    baseline: a function with the signature of `group_advantages`.

  Returns:
    Float32; 0 on tokens that are not the agent's.
  """

  validation.integers("steps", steps)
  validation.integers("group_ids", group_ids)
  validation.ids("episode_ids", episode_ids, steps.shape[0])

  def on_steps(
    rewards: Array, steps: Array, group_ids: Array, episode_ids: Array, gamma: Scalar
  ) -> tuple[Array]:
    grid = grids.step_grid(steps, episode_ids)
    rewards, group_ids = (grids.step_value(x, grid) for x in (rewards, group_ids))
    returns = grids.returns_to_go(rewards, grid, gamma)
    a = baseline(returns[0], group_ids[0], exists=grid.exists[0])
    return (grids.to_tokens(a[None], grid, steps.shape),)

  return explicit_mesh.automatic(
    on_steps, rewards, steps, group_ids, episode_ids, gamma, like=(rewards,)
  )[0]


def _within_groups(
  returns: Float[Array, "B"],
  group_ids: Int[Array, "B"],
  episode_ids: Int[Array, "B"] | None,
  exists: Bool[Array, "B"] | None,
  eps: Scalar,
) -> tuple[Float[Array, "B"], Float[Array, "B"], Float[Array, "B"]]:
  """(r - mean, std, number of episodes) of each row's group; the first is 0 on filler rows."""
  validation.arrays(returns=returns)
  if returns.ndim != 1:
    raise ValueError(f"returns has shape {returns.shape}; it must be [B].")
  validation.scalars(eps=eps)
  validation.ids("group_ids", group_ids, returns.shape[0])
  if episode_ids is not None:
    validation.ids("episode_ids", episode_ids, returns.shape[0])
  if exists is not None:
    validation.shape("exists", exists, ("[B]", returns.shape))

  def within_groups(
    returns: Array, group_ids: Array, episode_ids: Array | None, exists: Array | None
  ) -> tuple[Array, Array, Array]:
    rows = returns.shape[0]
    returns = returns.astype(jnp.float32)
    group = rank(group_ids)
    if exists is None:
      exists = jnp.ones_like(group, bool)
    vote = exists.astype(jnp.float32)
    if episode_ids is not None:
      episode = rank(episode_ids)
      vote /= jnp.maximum(jax.ops.segment_sum(vote, episode, rows)[episode], 1)
    votes = jax.ops.segment_sum(vote, group, rows)[group]

    def mean(x: Array) -> Array:
      return jax.ops.segment_sum(vote * x, group, rows)[group] / jnp.maximum(votes, eps)

    # Relative to the group's lowest, so that equal returns give exactly 0.
    lowest = jax.ops.segment_min(jnp.where(exists, returns, jnp.inf), group, rows)
    r = jnp.where(exists, returns - lowest[group], 0)
    centred = r - mean(r)
    std = jnp.sqrt(mean(centred**2))
    return jnp.where(exists, centred, 0), std, votes

  return explicit_mesh.automatic(
    within_groups, returns, group_ids, episode_ids, exists, like=(returns,) * 3
  )


def over_episodes(
  reduction: Callable[..., Array], x: Num[Array, "B"], episode_ids: Int[Array, "B"]
) -> Num[Array, "B"]:
  """Reduces x over the rows of each episode and gives each row its episode's value.

  `reduction` has the signature of `jax.ops.segment_sum`.
  """

  def reduced(x: Array, ids: Array) -> tuple[Array]:
    episode = rank(ids)
    return (reduction(x, episode, len(x))[episode],)

  return explicit_mesh.automatic(reduced, x, episode_ids, like=(episode_ids,))[0]


def rank(ids: Int[Array, "B"]) -> Int[Array, "B"]:
  """Dense ranks: the distinct ids in ascending order become 0, 1, ..."""
  order = jnp.argsort(ids)
  starts = jnp.pad(ids[order][1:] != ids[order][:-1], (1, 0))
  return jnp.zeros_like(order).at[order].set(jnp.cumsum(starts))
