"""The metrics of a run: summaries of episodes, and the file metrics.jsonl.

One row is one training step: a flat dict with stable names. `train/...` and
`eval/<split>/...` come from `summarize`, `empg/...` and `loss/...` from the update,
`time/rollout_s` and `time/update_s` in seconds, `compile/count` from the launcher.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import json
import math
import os
import re
from typing import Any

import numpy as np

from empg_jax.chat import actions
from empg_jax.envs import FAULTS
from empg_jax.io import json_text, paths
from empg_jax.types import Episode

FILE = "metrics.jsonl"


def summarize(
  episodes: Sequence[Episode], task_type: Callable[[str], str] | None = None
) -> dict[str, int | float]:
  """Summarizes a set of episodes; aborted ones are counted, and left out of all else.

  With `task_type` the summary has `success/<type>` and `episodes/<type>` for every type.

  Returns (nan for the mean of nothing):
    episodes, aborted: how many episodes were played, and how many were aborted.
    aborted_crash and so on: how many of the latter had each of envs.FAULTS.
    success, return, turns: means over episodes.
    cut_turns, cut_length: shares of episodes stopped by max_turns and by the context.
    invalid: share of turns whose reply held no action, and by fault:
    invalid_no_action, invalid_no_think, invalid_cjk (chat.actions.fault).
    reply_tokens: mean tokens of a reply; tokens: all sampled tokens.
    entropy_min, entropy_mean, entropy_max, entropy_std: of the steps' mean token entropies,
    nats.
  """
  played = [episode for episode in episodes if episode.ended != "aborted"]
  aborted = [episode.info.get("fault") for episode in episodes if episode.ended == "aborted"]
  turns = [turn for episode in played for turn in episode.turns]
  entropy = [float(np.mean(turn.entropy)) for turn in turns]
  faults = [turn.action is None and actions.fault(turn.text) for turn in turns]
  summary = {
    "episodes": len(played),
    "aborted": len(episodes) - len(played),
    **{f"aborted_{name}": aborted.count(name) for name in FAULTS},
    "success": _mean([episode.success for episode in played]),
    "return": _mean([episode.reward for episode in played]),
    "turns": _mean([len(episode.turns) for episode in played]),
    "cut_turns": _mean([episode.ended == "turns" for episode in played]),
    "cut_length": _mean([episode.ended == "length" for episode in played]),
    "invalid": _mean([turn.action is None for turn in turns]),
    **{f"invalid_{name}": _mean([fault == name for fault in faults]) for name in actions.FAULTS},
    "reply_tokens": _mean([len(turn.reply) for turn in turns]),
    "tokens": sum(len(turn.reply) for turn in turns),
    "entropy_min": min(entropy, default=math.nan),
    "entropy_mean": _mean(entropy),
    "entropy_max": max(entropy, default=math.nan),
    "entropy_std": float(np.std(entropy)) if entropy else math.nan,
  }
  if task_type is not None:
    wins: dict[str, list[bool]] = {}
    for episode in played:
      wins.setdefault(task_type(episode.task), []).append(episode.success)
    for name in sorted(wins):
      summary[f"success/{name}"] = _mean(wins[name])
      summary[f"episodes/{name}"] = len(wins[name])
  return summary


def entropy_by_turn(episodes: Sequence[Episode]) -> dict[str, float]:
  """Mean token entropy of the episodes' first turns, second turns, and so on, in nats.

  Returns entropy_turn/1 and so on, up to the longest episode's last; aborted ones do not count.
  """
  turns: dict[int, list[float]] = {}
  for episode in episodes:
    if episode.ended != "aborted":
      for number, turn in enumerate(episode.turns, 1):
        turns.setdefault(number, []).append(float(np.mean(turn.entropy)))
  return {f"entropy_turn/{number}": _mean(turns[number]) for number in sorted(turns)}


def prefixed(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
  """The same values under `prefix/name`."""
  return {f"{prefix}/{name}": value for name, value in values.items()}


class MetricsWriter:
  """Appends one JSON object for each step to WORKDIR/metrics.jsonl.

  A row is written when a later step begins, or by `flush`: only then are values read that the
  device may still be computing, and everything of one step is in one object. Numbers that are
  not finite become null.

  `rows` has all rows so far, including those of the run before a resume.
  """

  def __init__(
    self,
    workdir: str | os.PathLike,
    first_step: int = 0,
    *,
    keep: bool = True,
    watchers: Sequence[Callable[[Mapping[str, Any]], None]] = (),
  ):
    """Drops rows of `first_step` and later, which an interrupted run may have left.

    Without `keep` another process of the run writes the file. `watchers` are called with each
    finished row.
    """
    self._path = paths.of(workdir) / FILE
    self._keep, self._watchers = keep, watchers
    self.rows = [row for row in read_rows(workdir) if row["step"] < first_step]
    self._pending: dict[str, Any] | None = None
    if keep:
      paths.make_folder(self._path.parent)
    self._rewrite()

  def write(self, step: int, *values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Adds values to the row of `step`; returns the row that this finished, if any.

    Values are numbers: Python's, NumPy's or zero-dimensional JAX arrays. Raises
    ValueError at a step before the last one.
    """
    finished = None
    if self._pending is None or self._pending["step"] != step:
      finished = self.flush()
      last = self.rows[-1]["step"] if self.rows else -1
      if step <= last:
        raise ValueError(
          f"metrics of step {step} came after those of step {last}: steps must ascend."
        )
      self._pending = {"step": step}
    for part in values:
      self._pending.update(part)
    return finished

  def flush(self) -> dict[str, Any] | None:
    """Writes the row held back, so that a killed run keeps it; returns it."""
    if self._pending is None:
      return None
    pending, self._pending = self._pending, None
    row = {name: _number(name, value) for name, value in pending.items()}
    if self._keep:
      self._append(row)
    self.rows.append(row)
    self._show(row)
    return row

  def amend(self, values: Mapping[str, Any]) -> dict[str, Any]:
    """Adds values to the newest row, which is written already; returns it."""
    added = {name: _number(name, value) for name, value in values.items()}
    self.rows[-1] |= added
    self._rewrite()
    self._show({"step": self.rows[-1]["step"], **added})
    return self.rows[-1]

  def _append(self, row: Mapping[str, Any]) -> None:
    """Writes a row. It is there when the checkpoint of its step is."""
    with _writing(self._path):
      if paths.in_bucket(self._path):  # where nothing can be appended
        return paths.write(self._path, "".join(map(_line, [*self.rows, row])))
      with self._path.open("a") as file:
        file.write(_line(row))
        file.flush()
        os.fsync(file.fileno())

  def _rewrite(self) -> None:
    """Puts all rows into the file, which is the old one or the new one, and nothing between."""
    if self._keep:
      with _writing(self._path):
        paths.write(self._path, "".join(map(_line, self.rows)))

  def _show(self, row: Mapping[str, Any]) -> None:
    for watch in self._watchers:
      watch(row)

  def __enter__(self) -> "MetricsWriter":
    return self

  def __exit__(self, *error: object) -> None:
    self.flush()


@contextlib.contextmanager
def _writing(path: paths.Path) -> Iterator[None]:
  try:
    yield
  except OSError as error:
    raise OSError(
      f"{path} cannot be written ({error.strerror}): put that right and start the same command"
      " again, which goes on from the newest checkpoint."
    ) from error


def scores(rows: Sequence[Mapping[str, Any]]) -> dict[int, float]:
  """By step, the mean success over the splits of its evaluation, where there was one."""
  found = {}
  for row in rows:
    successes = [
      x for name, x in row.items() if re.fullmatch("eval/[^/]+/success", name) and x is not None
    ]
    if successes:
      found[row["step"]] = _mean(successes)
  return found


def read_rows(workdir: str | os.PathLike) -> list[dict[str, Any]]:
  """The rows of WORKDIR/metrics.jsonl; none if there is no such file.

  A last line that a killed run left half written is not a row. Raises ValueError if
  another line is no JSON object with a step.
  """
  path = paths.of(workdir) / FILE
  if not path.exists():
    return []
  lines = path.read_bytes().split(b"\n")
  rows = []
  for number, line in enumerate(lines[:-1], 1):
    try:
      rows.append(json.loads(line))
      rows[-1]["step"] + 0
    except (ValueError, KeyError, TypeError, RecursionError):
      raise ValueError(
        f"Line {number} of {path} is not a JSON object with a step: repair the line or remove it."
      ) from None
  return rows


def _number(name: str, value: Any) -> int | float | None:
  """A plain number for JSON, with the digits that a float32 has."""
  array = np.asarray(value)
  if array.ndim or array.dtype.kind not in "biufV":
    raise ValueError(
      f"The metric {name} is {array.dtype} of shape {array.shape}: a metric is one number."
    )
  if array.dtype.kind in "biu":
    return int(array)
  return float(f"{float(array):.7g}") if math.isfinite(float(array)) else None


def _line(row: Mapping[str, Any]) -> str:
  return json_text.dumps(row) + "\n"


def _mean(values: Sequence[int | float]) -> float:
  return sum(values) / len(values) if values else math.nan
