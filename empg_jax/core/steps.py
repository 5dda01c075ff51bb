"""The step grid: from tokens [B, T] to agent steps [E, S] and back.

A step is what the agent writes between two observations. The tokens are sorted
by (episode, step number), so a step may be anywhere in its episode's rows,
numbers may be missing, and the number of steps needs no bound: a grid has as
many slots as the batch has tokens.
"""

from collections.abc import Callable
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num, Shaped

from empg_jax.types import Scalar, StepGrid


def is_agent(step_mask: Bool[Array, "B T"] | Int[Array, "B T"]) -> Bool[Array, "B T"]:
  """Whether a token is the agent's, from a mask or from step numbers."""
  return step_mask if step_mask.dtype == bool else step_mask > 0


def numbered(step_mask: Bool[Array, "B T"] | Int[Array, "B T"]) -> Int[Array, "B T"]:
  """Step numbers, from a mask or from step numbers."""
  return number_runs(step_mask) if step_mask.dtype == bool else step_mask


def number_runs(mask: Bool[Array, "B T"]) -> Int[Array, "B T"]:
  """Numbers each row's maximal runs of True 1, 2, ...; 0 elsewhere."""
  starts = mask & ~_pad_left(mask[:, :-1], mask)
  return jnp.where(mask, jnp.cumsum(starts, axis=1, dtype=jnp.int32), 0)


def step_grid(steps: Int[Array, "B T"], episode_ids: Int[Array, "B"] | None = None) -> StepGrid:
  """Finds the batch's steps.

  Args:
    steps: the step of its episode each token belongs to, from 1; 0 or less: not
      the agent's token.
    episode_ids: the episode of each row. None: every row is its own.

  Returns:
    The grid. The step that follows (e, s) is (e, s + 1), whichever row it is
    in; where the number s + 1 is missing, no step follows.
  """
  if episode_ids is None:
    episodes = jnp.zeros_like(steps)
  else:
    episodes = jnp.broadcast_to(episode_ids[:, None], steps.shape)
    episodes, steps = episodes.reshape(1, -1), steps.reshape(1, -1)
  steps = jnp.maximum(steps, 0)  # tokens of no step sort first in their episode
  order = jax.lax.broadcasted_iota(jnp.int32, steps.shape, 1)
  episodes, steps, order = jax.lax.sort((episodes, steps, order), dimension=1, num_keys=2)
  # In this order the tokens of one step are adjacent, and the next step's follow.
  same_episode = _pad_left(episodes[:, 1:] == episodes[:, :-1], episodes)
  increase = _pad_left(steps[:, 1:] - steps[:, :-1], steps)
  agent = steps > 0
  starts = agent & ~(same_episode & (increase == 0))
  slot = jnp.where(agent, jnp.cumsum(starts, axis=1, dtype=jnp.int32) - 1, -1)
  follows = starts & same_episode & (increase == 1) & (steps > 1)
  return StepGrid(
    slot=jnp.put_along_axis(slot, order, slot, axis=1, inplace=False),
    lengths=_sum_by_slot(agent.astype(jnp.float32), slot),
    has_next=_shift_left(_sum_by_slot(follows.astype(jnp.int32), slot) > 0),
  )


def step_sum(x: Float[Array, "B T"], grid: StepGrid) -> Float[Array, "E S"]:
  """Sums a token quantity over each step; 0 in empty slots."""
  return _sum_by_slot(x.reshape(grid.slot.shape), grid.slot)


def step_mean(x: Float[Array, "B T"], grid: StepGrid) -> Float[Array, "E S"]:
  """Averages a token quantity over each step; 0 in empty slots."""
  return step_sum(x, grid) / jnp.maximum(grid.lengths, 1)


def step_value(x: Num[Array, "B T"], grid: StepGrid) -> Num[Array, "E S"]:
  """The value that all tokens of a step share, without rounding; 0 in empty slots."""
  largest = _by_slot(jax.ops.segment_max, x.reshape(grid.slot.shape), grid.slot)
  return jnp.where(grid.exists, largest, 0)


def step_first(x: Float[Array, "B T"], grid: StepGrid) -> Float[Array, "E S"]:
  """The value at the first token of each step; 0 in empty slots."""
  tokens = jax.lax.broadcasted_iota(jnp.int32, grid.slot.shape, 1)
  first = _by_slot(jax.ops.segment_min, tokens, grid.slot)  # out of range in empty slots
  first = jnp.minimum(first, grid.slot.shape[1] - 1)
  values = jnp.take_along_axis(x.reshape(grid.slot.shape), first, axis=1)
  return jnp.where(grid.exists, values, 0)


def returns_to_go(
  rewards: Float[Array, "E S"], grid: StepGrid, gamma: Scalar
) -> Float[Array, "E S"]:
  """G_t = r_t + gamma G_{t+1} over the steps of each episode.

  Summed by doubling, so that steps with the same rewards to come have exactly the same
  return, wherever they are in the batch.
  """
  returns, follows, reach, discount = rewards, grid.has_next, 1, gamma
  while reach < rewards.shape[1]:
    returns = returns + jnp.where(follows, discount * _shift_left(returns, reach), 0)
    follows &= _shift_left(follows, reach)
    reach, discount = 2 * reach, discount * discount
  return returns


def next_step(x: Float[Array, "E S"], grid: StepGrid) -> Float[Array, "E S"]:
  """The following step's value; 0 where no step follows."""
  return jnp.where(grid.has_next, _shift_left(x), 0)


def to_tokens(
  x: Float[Array, "E S"], grid: StepGrid, shape: tuple[int, ...]
) -> Float[Array, "B T"]:
  """Gives every token its step's value, and 0 to tokens of no step."""
  values = jnp.take_along_axis(x, jnp.maximum(grid.slot, 0), axis=1)
  return jnp.where(grid.slot < 0, 0, values).reshape(shape)


def _sum_by_slot(x: Num[Array, "E S"], slot: Int[Array, "E S"]) -> Num[Array, "E S"]:
  return _by_slot(jax.ops.segment_sum, x, slot)


def _by_slot(
  reduction: Callable[..., Array], x: Num[Array, "E S"], slot: Int[Array, "E S"]
) -> Num[Array, "E S"]:
  """Reduces x [E, S] over the entries of equal slot, row by row; drops slot -1."""
  size = slot.shape[1]
  return jax.vmap(functools.partial(reduction, num_segments=size))(x, slot)


def _pad_left(x: Shaped[Array, "E _"], like: Shaped[Array, "E S"]) -> Shaped[Array, "E S"]:
  """x padded on the left with zeros to the width of `like`."""
  return jnp.pad(x, ((0, 0), (like.shape[1] - x.shape[1], 0)))


def _shift_left(x: Shaped[Array, "E S"], by: int = 1) -> Shaped[Array, "E S"]:
  left = x[:, by:]
  return jnp.pad(left, ((0, 0), (0, x.shape[1] - left.shape[1])))
