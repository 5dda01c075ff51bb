"""A set of episodes as few bytes of JSON: columns, and tables of what repeats."""

from collections.abc import Hashable
from typing import Any

from empg_jax.tracking.episode_files import EpisodeSet


class _Table(dict):
  """Numbers different keys 0, 1, ... as they come."""

  def __missing__(self, key: Hashable) -> int:
    self[key] = len(self)
    return self[key]


def columns(played: EpisodeSet) -> dict[str, Any]:
  """What the page's script reads (assets/sets.js).

  lines: the different lines of all observations and actions; pieces: the different tokens of
  all replies, as [id, text]. An episode has its own values, and of its turns a column each of
  observations (lists of lines), actions (a line, or -1), rewards, pieces, entropies (in
  thousandths of a nat), and by name values. What is no number is null, as is a value that a
  turn does not have.
  """
  lines, pieces = _Table(), _Table()
  return {
    "split": played.split,
    "episodes": [_episode(episode, lines, pieces) for episode in played.episodes],
    "lines": list(lines),
    "pieces": list(pieces),
  }


def _episode(episode: dict[str, Any], lines: _Table, pieces: _Table) -> dict[str, Any]:
  turns = episode["turns"]
  names = dict.fromkeys(name for turn in turns for name in turn["values"])
  of_actions = [-1 if turn["action"] is None else lines[turn["action"]] for turn in turns]
  return {
    **{name: x for name, x in episode.items() if name != "turns"},
    "observations": [[lines[x] for x in turn["observation"].split("\n")] for turn in turns],
    "actions": of_actions,
    "rewards": [turn["reward"] for turn in turns],
    "pieces": [[pieces[x] for x in zip(turn["ids"], turn["tokens"])] for turn in turns],
    "entropies": [
      [None if x is None else round(1000 * x) for x in turn["entropies"]] for turn in turns
    ],
    "values": {name: [_short(turn["values"].get(name)) for turn in turns] for name in names},
  }


def _short(x: float | None) -> float | None:
  """Four decimals: one more than the page shows."""
  return None if x is None else round(x, 4)
