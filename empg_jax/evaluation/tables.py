"""Evaluations as tables of text."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from empg_jax.evaluation import statistics
from empg_jax.evaluation.records import Record
from empg_jax.evaluation.statistics import Estimate

_SHOWN: tuple[tuple[str, str, Callable[[float], str]], ...] = (
  ("success", "success", lambda x: f"{100 * x:z.1f}"),
  ("reward", "return", lambda x: f"{x:z.3f}"),
  ("score", "score", lambda x: f"{x:z.3f}"),
  ("turns", "turns", lambda x: f"{x:z.1f}"),
  ("invalid", "invalid", lambda x: f"{100 * x:z.1f}"),
)


def results(summary: Mapping[str, Mapping[str, Any]]) -> str:
  """A row for each task type: means with intervals; success and invalid turns in percent."""
  rows = [["task type", "tasks", "episodes", *(heading for _, heading, _ in _SHOWN)]]
  for kind in [*(name for name in summary if name != "all"), "all"]:
    part = summary[kind]
    cells = [_estimate(part[metric], show) for metric, _, show in _SHOWN]
    rows.append([kind, str(part["tasks"]), str(part["episodes"]), *cells])
  note = "95% bootstrap intervals over tasks; success in % of episodes, invalid in % of turns."
  return f"{_aligned(rows)}\n{note}"


def comparison(names: Sequence[str], evaluations: Sequence[Sequence[Record]]) -> str:
  """Each evaluation against the first, over the tasks and seeds that both have played."""
  tables = []
  for name, other in zip(names[1:], evaluations[1:]):
    rows = [["", names[0], name, "difference", "p"]]
    for metric, heading, show in _SHOWN[:4]:
      rows.append(_compared(evaluations[0], other, metric, heading, show, None))
    kinds = sorted({record["type"] for record in other})
    metric, heading, show = _SHOWN[0]
    rows += [_compared(evaluations[0], other, metric, f"{heading}, {k}", show, k) for k in kinds]
    tables.append(_aligned([row for row in rows if row]))
  note = (
    "Over the tasks and seeds that both have played: 95% paired bootstrap intervals over tasks,"
    " two-sided p of the exact sign-flip test; success in %."
  )
  return "\n\n".join([*tables, note])


def _compared(a, b, metric: str, heading: str, show, kind: str | None) -> list[str]:
  found = statistics.compare(a, b, metric, kind)
  if found is None:
    return []
  signed = lambda x: f"{'+' if x > 0 else ''}{show(x)}"
  p = "<0.0001" if found.p < 1e-4 else f"{found.p:.4f}"
  return [heading, show(found.a), show(found.b), _estimate(found.difference, signed), p]


def _estimate(estimate: Estimate, show: Callable[[float], str]) -> str:
  mean, low, high = map(show, estimate)
  return f"{mean} [{low}, {high}]"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
  widths = [max(map(len, column)) for column in zip(*rows)]
  lines = [
    "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
  ]
  return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])
