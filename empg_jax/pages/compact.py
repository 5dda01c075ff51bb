"""A set of episodes as compact JSON: columns, and tables of the values that repeat."""

from collections.abc import Hashable
from typing import Any

from empg_jax.tracking.episode_files import EpisodeSet


class _Table(dict):
  """Numbers distinct keys 0, 1, ... in the order of their first use."""

  def __missing__(self, key: Hashable) -> int:
    self[key] = len(self)
    return self[key]


def columns(played: EpisodeSet) -> dict[str, Any]:
  """The JSON object that the page's script reads (assets/sets.js).

  lines: the distinct lines of all observations and actions; pieces: the distinct tokens of
  all replies, as [id, text]. An episode has its own values, and for its turns one column each of
  observations (lists of lines), actions (a line, or -1), rewards, pieces, entropies (in
  thousandths of a nat), and values by name. A number that is not finite is null, and so is a
  value that a turn does not have.
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
