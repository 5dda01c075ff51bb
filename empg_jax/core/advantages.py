"""Advantages before modulation: an episode's return against its group's."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from empg_jax.core import border
from empg_jax.core import placement
from empg_jax.types import Scalar


@functools.partial(jax.jit, static_argnames="scale_by_std")
def group_advantages(
    returns: Float[Array, "B"],
    group_ids: Int[Array, "B"],
    *,
    episode_ids: Int[Array, "B"] | None = None,
    exists: Bool[Array, "B"] | None = None,
    scale_by_std: bool = True,
    eps: Scalar = 1e-6,
) -> Float[Array, "B"]:
  """A = (r - mean of the group) / (std of the group + eps), as in GRPO.

  Args:
    returns: the episode's return r, on each of its rows.
    group_ids: any integers; the rows of one task share one.
    episode_ids: the episode of each row, where episodes have several rows; an
      episode has one vote. None: every row is its own.
    exists: False on filler rows, which have no vote. None: all exist.
    scale_by_std: whether to divide by the standard deviation (population).
    eps: keeps the division finite.

  Returns:
    Float32 [B]; 0 on filler rows, exactly 0 in groups of equal returns.
  """
  border.shape("group_ids", group_ids, ("[B]", returns.shape))
  if episode_ids is not None:
    border.shape("episode_ids", episode_ids, ("[B]", returns.shape))
  if exists is not None:
    border.shape("exists", exists, ("[B]", returns.shape))

  def within_groups(returns, group_ids, episode_ids, exists):
    rows = returns.shape[0]
    returns = returns.astype(jnp.float32)
    group = _rank(group_ids)
    if exists is None:
      exists = jnp.ones_like(group, bool)
    vote = exists.astype(jnp.float32)
    if episode_ids is not None:
      episode = _rank(episode_ids)
      vote /= jnp.maximum(jax.ops.segment_sum(vote, episode, rows)[episode], 1)
    votes = jnp.maximum(jax.ops.segment_sum(vote, group, rows), eps)

    def mean(x):
      return (jax.ops.segment_sum(vote * x, group, rows) / votes)[group]

    # Counted from the group's lowest: equal returns give exactly 0.
    lowest = jax.ops.segment_min(jnp.where(exists, returns, jnp.inf), group, rows)
    r = jnp.where(exists, returns - lowest[group], 0)
    centred = r - mean(r)
    if scale_by_std:
      centred /= jnp.sqrt(mean(centred**2)) + eps
    return (jnp.where(exists, centred, 0),)

  return placement.automatic(
      within_groups, returns, group_ids, episode_ids, exists, like=(returns,)
  )[0]


def _rank(ids: Int[Array, "B"]) -> Int[Array, "B"]:
  """Numbers the different ids 0, 1, ... in their order."""
  order = jnp.argsort(ids)
  starts = jnp.pad(ids[order][1:] != ids[order][:-1], (1, 0))
  return jnp.zeros_like(order).at[order].set(jnp.cumsum(starts))
