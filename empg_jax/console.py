"""Console output of a run: one line per step, a final table, progress bars."""

from collections.abc import Callable, Mapping, Sequence
import math
import sys
import time
from typing import Any, NamedTuple

import tqdm

from empg_jax.io import words

EARLIEST = 0.1  # the share done before the time left is estimated


def _three_digits(value: int | float) -> str:
  """0.823 as 0.82, 12.34 as 12.3, 123.4 as 123, and 1234 as 1e+03."""
  digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
  return f"{value:z.{digits}f}" if abs(value) < 9999.5 else f"{value:.0e}"


def _percent(value: int | float) -> str:
  return f"{value:.1%}" if value < 0.0995 else f"{value:.0%}"


class _Column(NamedTuple):
  """A column of the first metrics that the row has; a range joins two with a dash."""

  heading: str
  width: int
  metrics: tuple[tuple[str, ...], ...]
  show: Callable[[int | float], str]

  def cell(self, row: Mapping[str, Any]) -> str:
    found = next((names for names in self.metrics if names[0] in row), self.metrics[0])
    values = [shown(row.get(name), self.show) for name in found]
    return "-".join(values) if values != ["-"] * len(values) else "-"


_KL = _Column("KL", 5, (("loss/kl",),), "{:z.3f}".format)  # to the initial policy
_COLUMNS = (
  _Column("success", 7, (("train/success",),), "{:.1%}".format),
  _Column("return", 6, (("train/return",),), "{:z.3f}".format),
  _Column("turns", 5, (("train/turns",),), "{:.1f}".format),
  _Column("H", 5, (("empg/entropy_mean",), ("train/entropy_mean",)), "{:z.3f}".format),
  _Column("g", 9, (("empg/g_min", "empg/g_max"), ("aem/g_min", "aem/g_max")), "{:.2f}".format),
  _KL,
  _Column("mismatch", 8, (("loss/behavior_kl",),), "{:z.1e}".format),
  _Column("clip", 4, (("loss/clip_fraction",),), _percent),
  _Column("grad", 4, (("update/grad_norm",),), _three_digits),
  # Of the rollout, and of the update.
  _Column("seconds", 7, (("time/rollout_s", "time/update_s"),), "{:.0f}".format),
)


class StepLines:
  """A line of at most 80 characters per training step, below one heading.

  H is the mean step entropy in nats, g the range of EMPG's scale, KL the divergence from the
  initial policy, mismatch the divergence between the sampler's and the update's probabilities,
  seconds the times of rollout and update, and left the time left for the run.
  """

  def __init__(self, num_steps: int, *, with_kl: bool = False):
    """`with_kl`: whether the run has a KL penalty, and so measures it."""
    self._width = max(len(str(num_steps)), len("step"))
    self._columns = [column for column in _COLUMNS if with_kl or column is not _KL]

  @property
  def heading(self) -> str:
    cells = [column.heading.rjust(column.width) for column in self._columns]
    return " ".join(["step".rjust(self._width), *cells, " left"])

  def line(self, row: Mapping[str, Any], left: float | None) -> str:
    """The line of one training step; "-" for a missing number.

    `left`: seconds left for the run; None: not known yet.
    """
    cells = [column.cell(row).rjust(column.width) for column in self._columns]
    time_left = "-" if left is None else brief(left)
    return " ".join([str(row["step"]).rjust(self._width), *cells, time_left.rjust(5)])


def warnings(row: Mapping[str, Any]) -> list[str]:
  """Warnings about a training step's row, one sentence each."""
  compressed = row.get("empg/compressed")
  if compressed is None or compressed <= 0.9:
    return []
  return [
    f"{compressed:.0%} of the steps are in the lowest 5% of the range of step entropies"
    f" ({row['empg/entropy_min']:.3f} to {row['empg/entropy_max']:.3f}): a few outliers set the"
    " range, and EMPG's scale hardly distinguishes the other steps."
  ]


def success_table(
  before: Mapping[str, Any],
  after: Mapping[str, Any],
  splits: Sequence[str] = ("valid_seen", "valid_unseen"),
) -> str:
  """A table of success by task type, before and after training, for each split.

  Both rows hold summarize()'s metrics as `eval/<split>/...`. A split's first column is the
  number of games of the type, in the evaluation after training.
  """
  types = sorted(
    name.removeprefix(prefix)
    for prefix in [f"eval/{split}/success/" for split in splits]
    for name in after
    if name.startswith(prefix)
  )
  header = ["task type"]
  for split in splits:
    header += [split, "before", "after"]
  lines = [header]
  for kind in [*dict.fromkeys(types), None]:
    cells = [kind or "all"]
    for split in splits:
      suffix = f"/{kind}" if kind else ""
      success = f"eval/{split}/success{suffix}"
      cells.append(shown(after.get(f"eval/{split}/episodes{suffix}"), _games))
      cells += [shown(row.get(success), "{:.1%}".format) for row in (before, after)]
    lines.append(cells)
  widths = [max(map(len, column)) for column in zip(*lines)]
  rule = ["-" * width for width in widths]
  return "\n".join(
    "  ".join([cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])])
    for cells in [lines[0], rule, *lines[1:-1], rule, lines[-1]]
  )


def gains(before: Mapping[str, Any], after: Mapping[str, Any], splits: Sequence[str]) -> str:
  """Success before and after training, on one line."""
  pairs = [[shown(row.get(f"eval/{split}/success"), "{:.1%}".format) for row in (before, after)]
           for split in splits]  # fmt: skip
  return ", ".join(f"{split} {' -> '.join(pair)}" for split, pair in zip(splits, pairs))


class Progress:
  """A progress bar with the time left; without a terminal, occasional plain lines.

  with Progress("rollout", total=128, unit="episodes") as bar:
    collect(..., progress=bar.update)
  """

  def __init__(self, what: str, total: int, unit: str = "steps", every_s: float = 60.0):
    """`every_s`: seconds between plain lines; a phase shorter than that prints none."""
    self._what, self._total, self._unit, self._every_s = what, total, unit, every_s
    self._done = 0
    self._start = self._last = time.monotonic()
    self._bar = None
    if sys.stderr.isatty():
      self._bar = tqdm.tqdm(
        total=total,
        desc=what,
        unit=f" {unit}",
        leave=False,
        file=sys.stderr,
        dynamic_ncols=True,
      )

  def update(self, n: int = 1) -> None:
    """Counts `n` more as done."""
    self._done += n
    if self._bar is not None:
      self._bar.update(n)
      return
    now = time.monotonic()
    if now - self._last >= self._every_s and self._done < self._total:
      self._last = now
      taken = now - self._start
      line = f"{self._what}: {self._done}/{self._total} {self._unit}, {duration(taken)} so far"
      if self._done >= EARLIEST * self._total:
        line += f", about {duration(taken * (self._total - self._done) / self._done)} left"
      print(line, file=sys.stderr, flush=True)

  def say(self, line: str) -> None:
    """Prints a line to stdout, above the bar."""
    say(line)

  def close(self) -> None:
    if self._bar is not None:
      self._bar.close()

  def __enter__(self) -> "Progress":
    return self

  def __exit__(self, *error: object) -> None:
    self.close()


def say(line: str) -> None:
  """Prints a line to stdout, above a bar if there is one."""
  tqdm.tqdm.write(line, file=sys.stdout)
  sys.stdout.flush()


def warn(line: str) -> None:
  """Prints a line to stderr, above a bar if there is one."""
  tqdm.tqdm.write(line, file=sys.stderr)
  sys.stderr.flush()


def duration(seconds: int | float) -> str:
  """1:05 for 65 seconds, 1:00:05 for 3,605."""
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def brief(seconds: int | float) -> str:
  """Five characters: 1:05 for 65 seconds, 1h00m for 3,605, 2d03h for 184,000."""
  minutes, rest = divmod(round(seconds), 60)
  if minutes < 60:
    return f"{minutes}:{rest:02}"
  hours, minutes = divmod(minutes, 60)
  return f"{hours}h{minutes:02}m" if hours < 10 else f"{hours // 24}d{hours % 24:02}h"


def _games(number: int | float) -> str:
  return words.count(round(number), "game")


def shown(value: int | float | None, show: Callable[[int | float], str]) -> str:
  """The number as `show` writes it, or "-" where there is none."""
  return "-" if value is None or not math.isfinite(value) else show(value)
