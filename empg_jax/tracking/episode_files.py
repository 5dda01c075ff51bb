"""Files of a run's episodes: texts, actions, rewards, and the entropy of each token.

WORKDIR/episodes/step_000020.train.jsonl.gz holds the episodes of training step 20, and
step_000025.valid_seen.jsonl.gz those of an evaluation after step 25. A file is JSON lines in
gzip: a heading, then one episode on each line (`write`).
"""

from collections.abc import Callable, Mapping, Sequence
import fnmatch
import gzip
import io
import json
import math
import os
from typing import Any, NamedTuple
import zlib

import numpy as np

from empg_jax.chat import pieces
from empg_jax.io import json_text, paths, words
from empg_jax.types import Episode

FOLDER = "episodes"
_FILES = "step_*.jsonl.gz"
FORMAT = "empg_jax.episodes.1"

# Limits of `read`.
MAX_EPISODES = 100_000
MAX_LINE = 64 * 2**20  # bytes
MAX_BYTES = 2**30

_Values = Mapping[tuple[int, int], Sequence[Mapping[str, float]]]


class EpisodeSet(NamedTuple):
  """The episodes of one training step or evaluation, as plain values; see `write`."""

  step: int
  split: str
  episodes: list[dict[str, Any]]


def write(
  workdir: str | os.PathLike,
  step: int,
  split: str,
  episodes: Sequence[Episode],
  *,
  text: Callable[[Sequence[int]], str],
  task_type: Callable[[str], str],
  values: _Values | None = None,
) -> paths.Path:
  """Writes WORKDIR/episodes/step_STEP.SPLIT.jsonl.gz; returns its path.

  An episode is an object with task, type, group, index, success, ended, reward, info (its single
  values alone), and turns. A turn has observation, action (null if the reply held none) and
  reward; for each token of the reply ids, tokens (the text that it adds) and entropies (in nats,
  three digits); and values: the given ones, and entropy, the mean of its tokens. A number that is
  not finite, such as the entropy of a diverged policy, is null.

  Args:
    step: the training step, or the one after which the evaluation took place.
    split: "train", or the split that was evaluated.
    text: returns the text of ids (Chat.text).
    task_type: returns the type of a task.
    values: of the turns of an episode, by its group and index (rollout.unpack); an episode
      that was not trained on has none.
  """
  split_reply = pieces.splitter(text)
  heading = {"format": FORMAT, "step": step, "split": split, "episodes": len(episodes)}
  lines = [heading]
  for episode in episodes:
    of_turns = (values or {}).get((episode.group, episode.index), [{}] * len(episode.turns))
    lines.append({
      "task": episode.task,
      "type": task_type(episode.task),
      "group": episode.group,
      "index": episode.index,
      "success": episode.success,
      "ended": episode.ended,
      "reward": _digits(episode.reward),
      "info": {name: x for name, x in episode.info.items() if _is_single(x)},
      "turns": [_turn(*pair, split_reply) for pair in zip(episode.turns, of_turns, strict=True)],
    })  # fmt: skip
  file = file_of(workdir, step, split)
  lines = "".join(json_text.dumps(line) + "\n" for line in lines)
  try:
    paths.make_folder(file.parent)
    paths.write(file, gzip.compress(lines.encode(), mtime=0))
  except OSError as error:
    raise OSError(
      f"{file} cannot be written ({error.strerror}): put that right and start the same command"
      " again, which goes on from the newest checkpoint."
    ) from error
  return file


def file_of(workdir: str | os.PathLike, step: int, split: str) -> paths.Path:
  """The path of the file of a training step (split "train"), or of an evaluation after it."""
  return paths.of(workdir) / FOLDER / f"step_{step:06}.{split}.jsonl.gz"


def files(workdir: str | os.PathLike) -> list[paths.Path]:
  """The files of WORKDIR/episodes/, by step and then by name.

  Raises:
    FileNotFoundError: there is none.
  """
  folder = paths.of(workdir) / FOLDER
  found = [path for path in paths.entries(folder) if fnmatch.fnmatch(path.name, _FILES)]
  if not found:
    raise FileNotFoundError(
      f"There are no episodes in {folder}: launch/train.py writes them"
      " there when it evaluates and when it saves a checkpoint."
    )
  return found


def read(path: str | os.PathLike, *, at_most: int | None = None) -> EpisodeSet:
  """Reads what `write` wrote.

  Args:
    at_most: returns at most this many episodes, spread evenly over the file; others are not parsed.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is not such a file, it is incomplete, or it exceeds MAX_EPISODES, MAX_LINE or
      MAX_BYTES (of text).
  """
  path = paths.of(path)
  if not path.is_file():
    raise FileNotFoundError(f"There is no file {path}: give one of WORKDIR/{FOLDER}/.")
  try:
    with path.open("rb") as packed, gzip.open(packed) as file:
      first, *lines = _lines(file)
    heading = _parsed(first, 1)
    count = min(len(lines), len(lines) if at_most is None else at_most)
    chosen = [at * len(lines) // count for at in range(count)]
    episodes = [_parsed(lines[at], at + 2) for at in chosen]
  except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
    raise ValueError(f"{path} holds no episodes that can be read ({error}).") from error
  faults = (
    heading.get("format") != FORMAT and f"its format is not {FORMAT}",
    not _fits(heading, _HEADING) and "its first line is not a heading",
    heading.get("episodes") != len(lines)
    and f"it has {words.count(len(lines), 'episode')}, and its heading says"
    f" {heading.get('episodes')}",
    *(_fault(episode, at + 1) for at, episode in zip(chosen, episodes)),
  )
  if fault := next(filter(None, faults), None):
    raise ValueError(f"{path} holds no episodes that can be read ({fault}).")
  episodes = [{name: episode[name] for name in _EPISODE} for episode in episodes]
  return EpisodeSet(heading["step"], heading["split"], episodes)


def _turn(turn, values, split_reply) -> dict[str, Any]:
  if len(turn.entropy):  # An expert's has no tokens.
    values = {"entropy": float(np.mean(turn.entropy)), **values}
  return {
    "observation": turn.observation,
    "action": turn.action,
    "reward": _digits(turn.reward),
    "ids": [int(i) for i in turn.reply],
    "tokens": split_reply(turn.reply.tolist()),
    "entropies": [round(float(x), 3) for x in turn.entropy],
    "values": {name: _digits(x) for name, x in values.items()},
  }


def _digits(x: float) -> float:
  """The number with six digits; one that is not finite stays so, for json_text."""
  return float(f"{float(x):.6g}")


def _is_single(x: Any) -> bool:
  if isinstance(x, float):
    return math.isfinite(x)
  return x is None or isinstance(x, (bool, int, str))


def _lines(file: io.BufferedIOBase) -> list[bytes]:
  """The lines of a file; raises ValueError if there is none, or if it is too large."""
  found, size = [], 0
  while line := file.readline(MAX_LINE + 1):
    size += len(line)
    if len(line) > MAX_LINE or size > MAX_BYTES or len(found) > MAX_EPISODES:
      raise ValueError(f"line {len(found) + 1} goes beyond what is read")
    found.append(line)
  if not found:
    raise ValueError("it is empty")
  return found


def _parsed(line: bytes, number: int) -> dict[str, Any]:
  found = json.loads(line, parse_constant=_no_number)
  if not isinstance(found, dict):
    raise ValueError(f"line {number} is no JSON object")
  return found


def _no_number(name: str) -> None:
  raise ValueError(f"{name} is no number of JSON")


_NUMBER = (int, float)
_HEADING = {"step": int, "split": str, "episodes": int}
_EPISODE = {
  "task": str, "type": str, "group": int, "index": int, "success": bool, "ended": str,
  "reward": _NUMBER, "info": dict, "turns": list,
}  # fmt: skip
_TURN = {
  "observation": str, "action": (str, type(None)), "reward": _NUMBER, "ids": list,
  "tokens": list, "entropies": list, "values": dict,
}  # fmt: skip


def _fault(episode: dict[str, Any], number: int) -> str | None:
  """The fault of an episode in words; None if it has none."""
  if not (_fits(episode, _EPISODE) and all(map(_is_single, episode["info"].values()))):
    return f"episode {number} lacks something or has it in another type"
  for at, turn in enumerate(episode["turns"], 1):
    if not (_fits(turn, _TURN) and _is_even(turn)):
      return f"turn {at} of episode {number} lacks something or has it in another type"
  return None


def _fits(record: Any, fields: Mapping[str, Any]) -> bool:
  if not isinstance(record, dict):
    return False
  return all(name in record and _is(record[name], kind) for name, kind in fields.items())


def _is(x: Any, kind: Any) -> bool:
  if kind is _NUMBER and not (isinstance(x, kind) and abs(x) < 1e30):
    return False
  return isinstance(x, kind) and (kind is bool or not isinstance(x, bool))


def _is_even(turn: dict[str, Any]) -> bool:
  """Whether ids, tokens and entropies have one length and valid values, as `values` must have."""
  ids, tokens, entropies = (turn[name] for name in ("ids", "tokens", "entropies"))
  return (
    len(ids) == len(tokens) == len(entropies)
    and all(_is(x, int) for x in ids)
    and all(_is(x, str) for x in tokens)
    and all(x is None or _is(x, _NUMBER) for x in (*entropies, *turn["values"].values()))
  )
