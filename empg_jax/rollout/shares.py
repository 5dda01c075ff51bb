"""Which of the episodes a host plays, and how all hosts get to know all of them."""

from collections.abc import Sequence
import itertools
from typing import Any

from flax import serialization
import numpy as np

from empg_jax.distributed import hosts
from empg_jax.types import Episode, Turn


def share(count: int, slots: Sequence[int], host: int) -> list[int]:
  """Which of `count` episodes a host plays.

  They are dealt out to the slots, so that each host gets as many as its slots can play at the
  same time, and members of a group, which take about as long, to different hosts.

  Args:
    count: episodes.
    slots: that each host has.
    host: the number of one.
  """
  # Each round of dealing begins with another host, lest one gets every second kind of task.
  dealt = [
    (number + i) % len(slots)
    for number in range(max(slots))
    for i in range(len(slots))
    if number < slots[(number + i) % len(slots)]
  ]
  return [i for i, other in zip(range(count), itertools.cycle(dealt)) if other == host]


def gather(episodes: Sequence[Episode]) -> list[Episode]:
  """The episodes of all hosts, in the order of their groups and indices, exactly as played.

  Where there is one host, its own. Raises ValueError if an environment's info holds what is no
  plain value.
  """
  if hosts.is_multiprocess():
    told = hosts.gather_bytes(to_bytes(episodes))
    episodes = [episode for message in told for episode in from_bytes(message)]
  return sorted(episodes, key=lambda episode: (episode.group, episode.index))


def to_bytes(episodes: Sequence[Episode]) -> bytes:
  """Episodes in msgpack, every number with all of its bits.

  Raises:
    ValueError: an info holds what is no plain value.
  """
  plain = [vars(episode) | dict(turns=[*map(_plain, episode.turns)]) for episode in episodes]
  try:
    return serialization.msgpack_serialize({"episodes": plain}, in_place=True)
  except TypeError as error:
    raise ValueError(
      f"The episodes cannot be sent to the other hosts ({error}): give plain values in the"
      " environment's info (bool, number, str, list, dict)."
    ) from error


def from_bytes(message: bytes) -> list[Episode]:
  """What `to_bytes` was given."""
  return [
    Episode(**episode | dict(turns=tuple(map(_turn, episode["turns"]))))
    for episode in serialization.msgpack_restore(message)["episodes"]
  ]


def _plain(turn: Turn) -> dict[str, Any]:
  return vars(turn) | dict(context=np.asarray(turn.context, np.int32))


def _turn(turn: dict[str, Any]) -> Turn:
  return Turn(**turn | dict(context=tuple(turn["context"].tolist())))
