"""What a run shows on the console: a line a step, a final table, progress bars."""

from collections.abc import Callable, Mapping, Sequence
import math
import sys
import time
from typing import Any

import tqdm

from empg_jax import words

# The columns of a step's line: a heading, the metrics it shows, their format.
_COLUMNS: tuple[tuple[str, tuple[str, ...], Callable[[int | float], str]], ...] = (
    ("success", ("train/success",), "{:.1%}".format),
    ("return", ("train/return",), "{:z.3f}".format),
    ("turns", ("train/turns",), "{:.1f}".format),
    ("H", ("empg/entropy_min", "empg/entropy_mean", "empg/entropy_max"), "{:z.3f}".format),
    ("g", ("empg/g_min", "empg/g_max"), "{:.2f}".format),
    ("KL", ("loss/behavior_kl",), "{:z.1e}".format),
    ("clip", ("loss/clip_fraction",), "{:.1%}".format),
    ("grad", ("update/grad_norm",), "{:.2f}".format),
    ("tokens/s", ("time/tokens_per_s",), "{:,.0f}".format),
    ("rollout", ("time/rollout_s",), "{:.1f}s".format),
    ("update", ("time/update_s",), "{:.1f}s".format),
)


def step_line(row: Mapping[str, Any], num_steps: int) -> str:
  """One training step's row as one readable line; a number that is not there is "-"."""
  width = len(str(num_steps))
  cells = [f"step {row['step']:>{width}}/{num_steps}"]
  for heading, names, show in _COLUMNS:
    cells.append(f"{heading} " + "/".join(shown(row.get(name), show) for name in names))
  return "  ".join(cells)


def warnings(row: Mapping[str, Any]) -> list[str]:
  """What in a training step's row calls for a look, a sentence each."""
  compressed = row.get("empg/compressed")
  if compressed is None or compressed <= 0.9:
    return []
  return [
      f"{compressed:.0%} of the steps lie in the lowest twentieth of the range of step entropies"
      f" ({row['empg/entropy_min']:.3f} to {row['empg/entropy_max']:.3f}): a few outliers set it,"
      " and EMPG's scale hardly tells the others apart."
  ]


def success_table(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    splits: Sequence[str] = ("valid_seen", "valid_unseen"),
) -> str:
  """Success by task type before and after training, a pair of columns a split.

  Both rows hold `eval/<split>/...`: summarize()'s names, by task type. "games" is the
  number of games of the type in that split, after training.
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
      cells.append(
          shown(after.get(f"eval/{split}/episodes{suffix}"), _games)
      )
      cells += [shown(row.get(success), "{:.1%}".format) for row in (before, after)]
    lines.append(cells)
  widths = [max(map(len, column)) for column in zip(*lines)]
  rule = ["-" * width for width in widths]
  return "\n".join(
      "  ".join([cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])])
      for cells in [lines[0], rule, *lines[1:-1], rule, lines[-1]]
  )


class Progress:
  """A progress bar with the time left; occasional plain lines where there is no terminal.

  with Progress("rollout", total=128, unit="episodes") as bar:
    collect(..., progress=bar.update)
  """

  def __init__(self, what: str, total: int, unit: str = "steps", every_s: float = 20.0):
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
    """`n` more are done."""
    self._done += n
    if self._bar is not None:
      self._bar.update(n)
      return
    now = time.monotonic()
    if now - self._last >= self._every_s and self._done < self._total:
      self._last = now
      taken = now - self._start
      left = taken * (self._total - self._done) / max(self._done, 1)
      print(
          f"{self._what}: {self._done}/{self._total} {self._unit}, {duration(taken)} so far, "
          f"about {duration(left)} left",
          file=sys.stderr,
          flush=True,
      )

  def say(self, line: str) -> None:
    """Prints a line to stdout, above the bar."""
    tqdm.tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()

  def close(self) -> None:
    if self._bar is not None:
      self._bar.close()

  def __enter__(self) -> "Progress":
    return self

  def __exit__(self, *error: object) -> None:
    self.close()


def warn(line: str) -> None:
  """Prints a line to stderr, above a bar if there is one."""
  tqdm.tqdm.write(line, file=sys.stderr)
  sys.stderr.flush()


def duration(seconds: int | float) -> str:
  """1:05 for 65 seconds, 1:00:05 for 3,605."""
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _games(number: int | float) -> str:
  return words.count(round(number), "game")


def shown(value: int | float | None, show: Callable[[int | float], str]) -> str:
  """The number as `show` writes it, or "-" where there is none."""
  return "-" if value is None or not math.isfinite(value) else show(value)
