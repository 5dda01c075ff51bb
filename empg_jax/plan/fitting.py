"""Checks whether a config fits in memory, and finds changes that make it fit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import math

import ml_collections

from empg_jax.plan import memory
from empg_jax.plan.compiling import TooLarge
from empg_jax.plan.memory import Item

Fits = Callable[[ml_collections.ConfigDict], object]  # compiles; raises TooLarge
Change = tuple[ml_collections.ConfigDict, str]  # a config, and the change that made it

# The programs' names in messages.
PHASES = {
  "train": "update", "score": "score pass", "read": "rollout", "write": "rollout",
  "reshard": "handover of the new policy",
}  # fmt: skip


def check(items: Sequence[Item], peaks: Mapping[str, int | None], limit: float) -> None:
  """Raises TooLarge if a program does not fit together with all that the run keeps.

  Args:
    items: of the run.
    peaks: of memory.PROGRAMS, as for memory.needs.
    limit: GiB per chip.
  """
  needed = {name: memory.needs(items, name, peak) / 2**30 for name, peak in peaks.items()}
  largest = max(needed, key=needed.get, default="")
  if largest and needed[largest] > limit:
    raise TooLarge(needed[largest], limit, largest)


def advice(changes: Iterator[Change], fits: Fits) -> str:
  """A sentence with the first of these changes, cheapest first, that makes a config fit."""
  for change, sentence in changes:
    try:
      fits(change)
      return f"it fits with {sentence}"
    except TooLarge:
      continue
  return "no smaller one fits either: take more chips, or a longer fsdp or tensor axis"


def of_update(config: ml_collections.ConfigDict, least: int) -> Iterator[Change]:
  """Changes that lower the update's memory, cheapest first.

  Args:
    config: of the run.
    least: the fewest rows of a microbatch on the mesh.
  """
  remat, size = config.train.get("remat", False), config.train.size
  if not remat:
    yield _with(config, "train", remat=True), "config.train.remat=True"
  while size % 2 == 0 and size // 2 >= least:
    size //= 2
    sentence = f"config.train.size={size}"
    yield (
      _with(config, "train", remat=True, size=size),
      sentence + ("" if remat else " and remat=True"),
    )


def of_rollout(config: ml_collections.ConfigDict, least: int) -> Iterator[Change]:
  """Changes that lower the rollout's memory: fewer conversations, then shorter ones.

  Args:
    config: of the run.
    least: the number of conversations must be a multiple of it.
  """
  slots = config.policy.slots
  while slots % 2 == 0 and (slots // 2) % least == 0:
    slots //= 2
    yield _with(config, "policy", slots=slots), f"config.policy.slots={slots}"
  shorter = (n for n in config.policy.windows if max(config.policy.piece_lengths) < n)
  for length in sorted(shorter, reverse=True):
    if length < config.policy.max_length:
      sentence = f"config.policy.max_length={length}"
      sentence += f" and slots={slots}" if slots < config.policy.slots else ""
      yield _with(config, "policy", slots=slots, max_length=length), sentence


def largest(config: ml_collections.ConfigDict, fits: Fits, least: int) -> int:
  """Rows of the largest microbatch that fits, found by doubling from the least; 0: none.

  For a microbatch larger than the config's minibatches, the number of minibatches is lowered.
  """
  rows, best = config.rollout.tasks * config.rollout.group_size, 0
  size = least
  while rows % size == 0:
    try:
      fewer = math.gcd(config.train.minibatches, rows // size)
      fits(_with(config, "train", size=size, minibatches=fewer))
    except TooLarge:
      break
    best, size = size, 2 * size
  return best


def _with(config, section: str, **changes) -> ml_collections.ConfigDict:
  other = ml_collections.ConfigDict(config.to_dict())
  other[section].update(changes)
  return other
