"""Token weights of the loss: what the loss is a mean over, and how tokens share it.

Computed once from the whole batch, so that the rows of an episode may be in different
microbatches and minibatches.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from empg_jax.core import explicit_mesh, steps as grids, validation
from empg_jax.core.advantages import over_episodes
from empg_jax.types import Scalar

Aggregation = Literal["token_mean", "sequence_mean", "sequence_sum", "step_mean"]


def token_weights(
  step_mask: Bool[Array, "B T"] | Int[Array, "B T"],
  aggregation: Aggregation = "token_mean",
  *,
  episode_ids: Int[Array, "B"] | None = None,
  length: Scalar = 1.0,
) -> Float[Array, "B T"]:
  """The weight of each token in the loss, the same in both row layouts.

  Args:
    step_mask: bool: each maximal run of True in a row is an agent step; or int: 0 or less is
      not the agent's token, s >= 1 a token of its episode's step s.
    aggregation: "token_mean": a mean over the batch's tokens (DAPO);
      "sequence_mean": over episodes, each a mean over its tokens (GRPO);
      "sequence_sum": over episodes, each a sum over its tokens / `length` (Dr. GRPO);
      "step_mean": over steps, each a mean over its tokens (GSPO).
    episode_ids: the episode of each row, where episodes have several rows (one row a turn).
      None: every row is its own episode.
    length: a constant, such as the most tokens that an agent can write in an episode; for
      "sequence_sum" only.

  Returns:
    Float32 weights, 0 on tokens that are not the agent's. They sum to 1, or for
    "sequence_sum" to the mean number of tokens of an episode / `length`; all are 0 in a
    batch without agent tokens.
  """
  mask = grids.is_agent(step_mask).astype(jnp.float32)
  votes = row_votes(step_mask, aggregation, episode_ids=episode_ids)
  if aggregation == "sequence_sum":
    mask /= length
  else:
    mask /= jnp.maximum(_sharing(step_mask, aggregation, episode_ids), 1)
  return mask / jnp.maximum(jnp.sum(votes), 1)


def row_votes(
  step_mask: Bool[Array, "B T"] | Int[Array, "B T"],
  aggregation: Aggregation,
  *,
  episode_ids: Int[Array, "B"] | None = None,
) -> Float[Array, "B"]:
  """How many of what the loss is a mean over (tokens, steps or episodes) each row has.

  A row with a part of an episode has that part of its vote, in proportion to its tokens.
  """
  mask = grids.is_agent(step_mask).astype(jnp.float32)
  sharing = jnp.maximum(_sharing(step_mask, aggregation, episode_ids), 1)
  if sharing.shape[1] == 1:  # one division, so that a whole episode has exactly 1
    return jnp.sum(mask, axis=1) / sharing[:, 0]
  return jnp.sum(mask / sharing, axis=1)


def _sharing(
  step_mask: Array, aggregation: Aggregation, episode_ids: Array | None
) -> Float[Array, "B _"]:
  """[B, 1] or [B, T]: the number of tokens that share one vote with each of the agent's."""
  if episode_ids is not None:
    validation.ids("episode_ids", episode_ids, step_mask.shape[0])
  tokens = jnp.sum(grids.is_agent(step_mask), axis=1, dtype=jnp.float32)
  if aggregation == "token_mean":
    return jnp.ones_like(tokens)[:, None]
  if aggregation in ("sequence_mean", "sequence_sum"):
    if episode_ids is not None:
      tokens = over_episodes(jax.ops.segment_sum, tokens, episode_ids)
    return tokens[:, None]
  if aggregation == "step_mean":
    return _step_lengths(step_mask, episode_ids)
  raise ValueError(
    f"aggregation is {aggregation!r}; it must be 'token_mean', 'sequence_mean',"
    " 'sequence_sum' or 'step_mean'."
  )


def _step_lengths(step_mask: Array, episode_ids: Array | None) -> Float[Array, "B T"]:
  """The number of tokens of each token's step; 0 on tokens that are not the agent's."""

  def lengths(step_mask: Array, episode_ids: Array | None) -> tuple[Array]:
    grid = grids.step_grid(grids.numbered(step_mask), episode_ids)
    return (grids.to_tokens(grid.lengths, grid, step_mask.shape),)

  return explicit_mesh.automatic(lengths, step_mask, episode_ids, like=(step_mask,))[0]
