"""A training step's episodes as the rows of a batch, and what became of them there."""

from collections.abc import Sequence

import ml_collections

from empg_jax import algorithms
from empg_jax.algorithms import Algorithm
from empg_jax.rollout.pack import by_turn, count_rows, deal, pack
from empg_jax.rollout.unpack import unpack
from empg_jax.types import Batch, Episode


def make_rows(
  config: ml_collections.ConfigDict, episodes: Sequence[Episode]
) -> tuple[list[Episode], Batch]:
  """What each row holds, an episode or, where turns are prompts of their own, a turn; the rows."""
  count = config.rollout.tasks * config.rollout.group_size
  if config.rollout.window >= 0:
    episodes = by_turn(episodes)
    count = count_rows(len(episodes), count)
  order = deal(episodes, config.train.size, count)
  return order, pack(order, multiple=count, **config.pack)


def explain_rows(
  algorithm: Algorithm, order: Sequence[Episode], rows: Batch
) -> dict[tuple[int, int], list[dict[str, float]]]:
  """What the algorithm makes of each turn, by the group and index of its episode."""
  return unpack(algorithms.explain(algorithm, rows, rows.behavior_entropy), rows.steps, order)
