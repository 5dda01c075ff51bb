"""Which groups are trained on: those whose members can be compared, and differ.

The latter is dynamic sampling (DAPO, arXiv 2503.14476): a group of equal returns teaches nothing.
Returns are the environment's own here: penalties of invalid replies are small, but where all else
is equal the division by the group's deviation would make them all that counts.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import itertools
import types
from typing import NamedTuple

from empg_jax.types import Episode


class Groups(NamedTuple):
  """What was played, and what of it is trained on."""

  kept: list[Episode]
  played: list[Episode]
  dropped: int
  """Groups that were played and are not kept."""
  short: int
  """Groups that are kept though some of their episodes were aborted."""
  seconds: float = 0.0
  """That playing them took."""
  usage: Mapping[str, float] = types.MappingProxyType({})
  """How full the slots were, and how the devices spent that time, by the metrics' names."""
  lag: int = 0
  """Steps that the policy which sampled them is behind the one that they update."""


def differing_groups(
  play: Callable[[int, int], Sequence[Episode]], wanted: int, max_rounds: int
) -> Groups:
  """Plays until `wanted` groups are there whose members' returns differ, penalties left out.

  Args:
    play: (number of the round, number of groups) -> their episodes, groups counted from 0.
    wanted: groups to train on.
    max_rounds: after so many rounds those that are there have to do; 0: one round is
      played, and all of its groups are kept that faults left two played episodes.

  Returns:
    Episodes whose groups are numbered as they were played. If no group has differing
    returns, the last round's are kept, so that there is a batch.
  """
  kept, played, groups = [], [], 0
  for number in range(max(max_rounds, 1)):
    missing = wanted - len(kept)
    episodes = [
      dataclasses.replace(episode, group=groups + episode.group)
      for episode in play(number, missing)
    ]
    groups += missing
    played += episodes
    of_round = [list(g) for _, g in itertools.groupby(episodes, lambda e: e.group)]
    compared = [group for group in of_round if len(_played(group)) >= min(2, len(group))]
    kept += [group for group in compared if not max_rounds or _differs(group)]
    if len(kept) == wanted:
      break
  kept = kept or compared or of_round
  short = sum(len(_played(group)) < len(group) for group in kept)
  return Groups(sum(kept, []), played, groups - len(kept), short)


def _played(group: Sequence[Episode]) -> list[Episode]:
  return [episode for episode in group if episode.ended != "aborted"]


def _differs(group: Sequence[Episode]) -> bool:
  return len(set(map(_own_return, _played(group)))) > 1


def _own_return(episode: Episode) -> float:
  """What the environment paid; summed anew, for to add the penalties again would round."""
  if all(turn.action is not None for turn in episode.turns):
    return episode.reward
  return sum((turn.reward for turn in episode.turns if turn.action is not None), start=0.0)
