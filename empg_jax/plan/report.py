"""A plan's figures as text and as plain values."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from empg_jax import console
from empg_jax.io import words
from empg_jax.plan import fitting, memory
from empg_jax.plan.chips import Chip
from empg_jax.plan.compiling import Report
from empg_jax.plan.memory import Item

_KERNELS = ("__cu", "tpu_custom_call", "__gpu$")  # cuDNN and cuBLAS; Pallas on TPU; Triton


def show(report: Report, chip: Chip) -> str:
  """A program's figures per chip."""
  r = report
  lines = [
    f"{r.name}, a chip (compiled in {r.compile_s:.0f} s, {r.hlo_mb:.1f} MB of HLO)",
    f"  memory      {r.peak:.2f} GiB at the peak, {r.free:.2f} free of {chip.memory};"
    f" arguments {r.arguments:.2f}, temporaries {r.temporaries:.2f}",
  ]
  if r.tokens:
    lines.append(
      f"  operations  {r.flops / 1e12:,.1f} TFLOP, {r.flops / r.model_flops:.2f} times what the"
      " model needs (6 N D and attention)"
    )
  for c in r.collectives:
    if c.sent >= 1e6:
      often = words.count(c.times, "time")
      lines.append(f"  {c.kind:<20} {' x '.join(c.axes):<14} {often:>13} {c.sent / 1e9:>9,.2f} GB")
  kernels = {name: n for name, n in r.custom_calls.items() if name.startswith(_KERNELS)}
  if kernels:
    lines.append("  kernels     " + ", ".join(f"{name} {n}" for name, n in sorted(kernels.items())))
  times = ", ".join(f"{name} {s:.3g} s" for name, s in r.seconds.items() if s)
  lines.append(f"  roofline    {times}")
  estimate = f"  estimate    {r.step_s:.3g} s, limited by {r.limit}"
  if r.tokens:
    estimate += f"; {r.tokens / r.step_s:,.0f} tokens/s, MFU {r.mfu(chip):.0%}"
  lines.append(estimate)
  return "\n".join(lines)


def of_run(items: Sequence[Item], reports: Mapping[str, Report], chip: Chip) -> Iterator[str]:
  """A chip's peak memory in each phase of a run: the program, and what the run keeps besides."""
  yield "a run, a chip"
  for name in memory.PROGRAMS:
    if name not in reports:
      continue
    peak = reports[name].peak_bytes
    needed = memory.needs(items, name, peak) / 2**30
    beside = (item for item in items if name in item.lives and name not in item.inside)
    kept = "".join(f" + {item.name} {item.device / 2**30:.2f}" for item in beside)
    fits = f"{chip.memory - needed:.2f} free" if needed <= chip.memory else "does not fit"
    yield (
      f"  {needed:.2f} GiB of {chip.memory}, {fits}: the {fitting.PHASES[name]}"
      f" {reports[name].peak:.2f}{kept}"
    )


def compiling(counts: Mapping[str, int], reports: Mapping[str, Report]) -> str:
  """How many programs a run compiles (programs.count), and how long that takes at most here.

  Each of a kind is taken to last as long as the largest, which `reports` has.
  """
  kinds = {name: count for name, count in counts.items() if name in reports}
  seconds = sum(count * reports[name].compile_s for name, count in kinds.items())
  listed = ", ".join(f"{count} x {reports[name].name}" for name, count in kinds.items())
  total = words.count(sum(kinds.values()), "program")
  return f"a run compiles at most {total} ({listed}): {console.duration(seconds)} at the pace here"


def values(reports: Sequence[Report], chip: Chip) -> list[dict[str, Any]]:
  """The reports as plain values for JSON."""
  found = []
  for r in reports:
    derived = {"step_s": r.step_s, "limit": r.limit, "mfu": r.mfu(chip)}
    exchanged = [c._asdict() for c in r.collectives]
    found.append({**r._asdict(), "collectives": exchanged, **derived})
  return found
