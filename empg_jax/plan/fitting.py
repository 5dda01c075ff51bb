"""Which config fits, and what would make one fit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import math

import ml_collections

from empg_jax.plan import memory
from empg_jax.plan.compiling import TooLarge
from empg_jax.plan.memory import Item

Fits = Callable[[ml_collections.ConfigDict], object]  # compiles; raises TooLarge
Change = tuple[ml_collections.ConfigDict, str]  # a config, and what was changed for it

# What messages call the programs.
PHASES = {
  "train": "update", "score": "score pass", "turn": "rollout",
  "reshard": "handover of the new policy",
}  # fmt: skip


def check(items: Sequence[Item], peaks: Mapping[str, int | None], limit: float) -> None:
  """Raises TooLarge if a program does not fit beside all that a run keeps meanwhile.

  Args:
    items: of the run.
    peaks: of memory.PROGRAMS, as memory.needs takes them.
    limit: GiB of a chip.
  """
  needed = {name: memory.needs(items, name, peak) / 2**30 for name, peak in peaks.items()}
  largest = max(needed, key=needed.get, default="")
  if largest and needed[largest] > limit:
    raise TooLarge(needed[largest], limit, largest)


def advice(changes: Iterator[Change], fits: Fits) -> str:
  """The first of these changes, the cheapest first, with which a config fits."""
  for change, sentence in changes:
    try:
      fits(change)
      return f"it fits with {sentence}"
    except TooLarge:
      continue
  return "no smaller one fits either: take more chips, or a longer fsdp or tensor axis"


def of_update(config: ml_collections.ConfigDict, least: int) -> Iterator[Change]:
  """Updates with less and less to hold, the cheapest first.

  Args:
    config: of the run.
    least: rows that a microbatch must have on the mesh.
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
  """Rollouts of fewer conversations at a time, and then of shorter ones.

  Args:
    config: of the run.
    least: what the conversations divide over.
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
  """Rows of the largest microbatch that fits, by doubling from the least; 0: none.

  One of more rows than the config's minibatches have is tried in fewer of these.
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
