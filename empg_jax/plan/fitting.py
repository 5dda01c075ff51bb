"""Which batch fits, and what would make one fit."""

import math
from collections.abc import Callable

import ml_collections

from empg_jax.plan.compiling import TooLarge

Fits = Callable[[ml_collections.ConfigDict], object]  # compiles; raises TooLarge


def advice(config: ml_collections.ConfigDict, fits: Fits, least: int) -> str:
  """The cheapest change of a config that does not fit with which it does.

  Args:
    config: of the run.
    fits: compiles the train step of a config.
    least: rows that a microbatch must have on the mesh.
  """
  for change, sentence in _changes(config, least):
    try:
      fits(change)
      return sentence
    except TooLarge:
      continue
  return "no smaller microbatch fits either: take more chips, or a longer fsdp axis"


def _changes(config, least: int):
  """Configs with less and less to hold, the cheapest first."""
  remat, size = config.train.get("remat", False), config.train.size
  if not remat:
    yield _with(config, remat=True), "it fits with config.train.remat=True"
  while size % 2 == 0 and size // 2 >= least:
    size //= 2
    sentence = f"it fits with config.train.size={size}"
    yield _with(config, remat=True, size=size), sentence + ("" if remat else " and remat=True")


def largest(config: ml_collections.ConfigDict, fits: Fits, least: int) -> int:
  """Rows of the largest microbatch that fits, by doubling from the least; 0: none.

  One of more rows than the config's minibatches have is tried in fewer of these.
  """
  rows, best = config.rollout.tasks * config.rollout.group_size, 0
  size = least
  while rows % size == 0:
    try:
      fewer = math.gcd(config.train.minibatches, rows // size)
      fits(_with(config, size=size, minibatches=fewer))
    except TooLarge:
      break
    best, size = size, 2 * size
  return best


def _with(config, **train) -> ml_collections.ConfigDict:
  other = ml_collections.ConfigDict(config.to_dict())
  other.train.update(train)
  return other
