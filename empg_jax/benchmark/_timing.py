"""Measures wall time, CPU time and peak memory, and formats tables of them."""

from collections.abc import Callable, Mapping, Sequence
import gc
import statistics
import time
from typing import Any

from empg_jax import console

MIB = 2**20


def spread(values: Sequence[float]) -> dict[str, float]:
  """Median, minimum and maximum."""
  return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def timed(run: Callable[[], Any], repeats: int, what: str) -> dict[str, Any]:
  """Times `repeats` calls of `run`, which waits for its own results, after one untimed call.

  `what` is its name on the progress bar.

  Returns:
    `wall_s` and `cpu_s` (CPU time over all threads of this process, which other programs on
    the machine hardly affect) as spreads, and `peak_rss_mib`, the peak resident set of the
    timed calls (None where the system does not report it).
  """
  wall, cpu = [], []
  with console.Progress(what, 1 + repeats, "runs") as progress:
    run()
    progress.update()
    gc.collect()
    _reset_peak()
    for _ in range(repeats):
      wall_start, cpu_start = time.perf_counter(), time.process_time()
      run()
      cpu.append(time.process_time() - cpu_start)
      wall.append(time.perf_counter() - wall_start)
      progress.update()
  return {"wall_s": spread(wall), "cpu_s": spread(cpu), "peak_rss_mib": _peak_rss_mib()}


def in_turn(
  calls: Mapping[str, Callable[[], Any]], repeats: int
) -> dict[str, dict[str, dict[str, float]]]:
  """`wall_s` and `cpu_s` of several calls in alternation, so that all see the same machine load.

  Each waits for its own results and is called once before, untimed.
  """
  times = {name: ([], []) for name in calls}
  with console.Progress(" ".join(calls), (1 + repeats) * len(calls), "runs") as progress:
    for number in range(1 + repeats):
      for name, run in calls.items():
        wall_start, cpu_start = time.perf_counter(), time.process_time()
        run()
        if number:
          times[name][1].append(time.process_time() - cpu_start)
          times[name][0].append(time.perf_counter() - wall_start)
        progress.update()
  return {
    name: {"wall_s": spread(wall), "cpu_s": spread(cpu)} for name, (wall, cpu) in times.items()
  }


def _reset_peak() -> None:
  """Resets the peak resident set to the current one, where the system (Linux) can."""
  try:
    with open("/proc/self/clear_refs", "w", encoding="ascii") as f:
      f.write("5")
  except OSError:
    pass


def _peak_rss_mib() -> float | None:
  try:
    with open("/proc/self/status", encoding="ascii") as f:
      line = next(line for line in f if line.startswith("VmHWM:"))
  except (OSError, StopIteration):
    return None
  return int(line.split()[1]) / 1024


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  """A text table; the first column is left-aligned, the others right-aligned."""
  lines = [list(header), *map(list, rows)]
  widths = [max(map(len, column)) for column in zip(*lines)]
  lines.insert(1, ["-" * width for width in widths])
  return "\n".join(
    "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines
  )


def show_spread(x: dict[str, float], digits: int = 2) -> str:
  """`1.23 (1.20-1.31)`: median, minimum and maximum."""
  return f"{x['median']:.{digits}f} ({x['min']:.{digits}f}-{x['max']:.{digits}f})"


def show_mib(mib: float | None) -> str:
  """Whole MiB; "-" where there is no figure."""
  return "-" if mib is None else f"{mib:,.0f}"
