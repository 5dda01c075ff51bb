"""A few of the episodes that a run wrote to its workdir, as tables for its trackers."""

from collections.abc import Mapping, Sequence
import os
import re
import statistics
from typing import Any, NamedTuple

from empg_jax.io import words
from empg_jax.tracking import episode_files, transcript

COUNT = 8  # episodes of a set
TURNS = 12  # of an episode: its first and its last ones
LENGTH = 400  # characters of an observation, and of a reply


class Sample(NamedTuple):
  """An episode as a row of a table."""

  task: str
  type: str
  outcome: str
  """One of "won", "lost" and "aborted"."""
  reward: float
  turns: int
  entropy: float | None
  """Mean of the steps' mean token entropies in nats; None: no step has one."""
  text: str
  """What the agent read and wrote, shortened."""


def of_row(workdir: str | os.PathLike, row: Mapping[str, Any]) -> dict[str, list[Sample]]:
  """By split, COUNT of the episodes that a row of metrics.jsonl sums up, where they were written.

  They are spread evenly over the set, so that they come from different groups.
  """
  files = {
    split: path
    for name in row
    if (split := _split(name))
    and (path := episode_files.file_of(workdir, row["step"], split)).exists()
  }
  return {
    split: [_sample(episode) for episode in episode_files.read(path, at_most=COUNT).episodes]
    for split, path in files.items()
  }


def markdown(samples: Sequence[Sample]) -> str:
  """A table in Markdown, in which no text of an episode is read as Markdown or HTML."""
  rows = [Sample._fields, ["---"] * len(Sample._fields)]
  rows += [[_cell(value) for value in sample] for sample in samples]
  return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _split(metric: str) -> str | None:
  if metric == "train/success":
    return "train"
  found = re.fullmatch("eval/([^/]+)/success", metric)
  return found and found[1]


def _sample(episode: Mapping[str, Any]) -> Sample:
  turns = episode["turns"]
  entropies = [turn["values"].get("entropy") for turn in turns]
  entropies = [h for h in entropies if h is not None]
  lost = "aborted" if episode["ended"] == "aborted" else "lost"
  return Sample(
    task=episode["task"],
    type=episode["type"],
    outcome="won" if episode["success"] else lost,
    reward=episode["reward"],
    turns=len(turns),
    entropy=round(statistics.fmean(entropies), 4) if entropies else None,
    text=_text(turns),
  )


def _text(turns: Sequence[Mapping[str, Any]]) -> str:
  lines = [
    f"--- turn {number}\n{_short(turn['observation'])}\n> {_short(''.join(turn['tokens']))}"
    for number, turn in enumerate(turns, 1)
  ]
  if left_out := max(len(lines) - TURNS, 0):
    first = TURNS // 2
    lines[first : first + left_out] = [f"--- {words.count(left_out, 'turn')} left out"]
  return "\n".join(lines)


def _short(text: str) -> str:
  text = transcript.printable(text)
  return text if len(text) <= LENGTH else f"{text[:LENGTH]} [...]"


def _cell(value: str | int | float | None) -> str:
  """Text with every character but letters, digits and spaces as its number in HTML."""
  if not isinstance(value, str):
    return "" if value is None else f"{value:g}"
  text = transcript.printable(value)
  escaped = (c if c.isalnum() or c == " " else f"&#{ord(c)};" for c in text)
  return "".join(escaped).replace("&#10;", "<br>")
