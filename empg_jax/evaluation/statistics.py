"""Intervals and p values over tasks: episodes of one task are alike, so tasks are the sample."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from jaxtyping import Float
import numpy as np

from empg_jax.evaluation.records import Record

LEVEL = 0.95
RESAMPLES = 10_000
_AT_ONCE = 500  # resamples, to bound the memory
METRICS = ("success", "reward", "score", "turns", "invalid")


class Estimate(NamedTuple):
  """A mean, and the bootstrap interval around it (LEVEL, percentiles)."""

  mean: float
  low: float
  high: float


class Difference(NamedTuple):
  """b - a on the same tasks and seeds."""

  a: float
  b: float
  difference: Estimate
  p: float  # of the sign-flip test, two-sided


def summarize(records: Sequence[Record]) -> dict[str, dict[str, int | Estimate]]:
  """Estimates of METRICS over all episodes that were not aborted, and by task type.

  "invalid" is a share of all turns; the others are means over episodes.

  Returns {"all": {"tasks": n, "episodes": n, "success": Estimate, ...}, TYPE: {...}, ...}.
  """
  played = [record for record in records if record["ended"] != "aborted"]
  kinds = sorted({record["type"] for record in played})
  parts = {"all": played, **{k: [r for r in played if r["type"] == k] for k in kinds}}
  return {name: _summary(part) for name, part in parts.items()}


def compare(
  a: Sequence[Record], b: Sequence[Record], metric: str, kind: str | None = None
) -> Difference | None:
  """The paired difference b - a of a metric, of one task type if `kind` names it.

  None if they have no task and seed in common.
  """
  pairs: dict[str, list[tuple[float, float]]] = {}
  played = _by_pair(a)
  for key, other in _by_pair(b).items():
    if key in played and kind in (None, other["type"]):
      pairs.setdefault(key[0], []).append((float(played[key][metric]), float(other[metric])))
  if not pairs:
    return None
  plays = np.array([len(values) for values in pairs.values()], float)
  sums = np.array([np.sum(values, axis=0) for values in pairs.values()])
  deltas = sums[:, 1] - sums[:, 0]
  before, after = sums.sum(axis=0) / plays.sum()
  return Difference(before, after, ratio(deltas, plays), sign_flip_p(deltas))


def ratio(numerator: Float[np.ndarray, "N"], denominator: Float[np.ndarray, "N"]) -> Estimate:
  """sum(numerator) / sum(denominator), with an interval from resampling the N tasks."""
  rng, count = np.random.default_rng(0), len(numerator)
  drawn = []
  for _ in range(RESAMPLES // _AT_ONCE):
    tasks = rng.integers(count, size=(_AT_ONCE, count))
    drawn.append(numerator[tasks].sum(axis=1) / denominator[tasks].sum(axis=1))
  tail = (1 - LEVEL) / 2
  low, high = np.quantile(np.concatenate(drawn), [tail, 1 - tail])
  return Estimate(float(numerator.sum() / denominator.sum()), float(low), float(high))


def sign_flip_p(deltas: Float[np.ndarray, "N"], grain: float = 0.01) -> float:
  """Two-sided p value of the sum of the tasks' differences if each sign were a fair coin.

  Exact: the distribution of the sum over all 2^N signs, differences rounded to `grain`.
  With differences of -1, 0 and 1 this is the sign test (McNemar's exact test). If they are so
  large that there would be more than a million sums, the grain is coarser.
  """
  grain = max(grain, float(np.abs(deltas).sum()) / 1e6)
  steps = np.rint(np.asarray(deltas) / grain).astype(int)
  sizes = np.abs(steps[steps != 0])
  if not len(sizes):
    return 1.0
  sizes = sizes // np.gcd.reduce(sizes)
  observed = abs(int(np.sum(np.sign(steps[steps != 0]) * sizes)))
  chance = np.ones(1)  # of the sums -total, -total + 2, ..., total
  for size in sizes:
    wider = np.zeros(len(chance) + size)
    wider[: len(chance)] += chance / 2
    wider[size:] += chance / 2
    chance = wider
  totals = 2 * np.arange(len(chance)) - (len(chance) - 1)
  return float(min(1.0, chance[np.abs(totals) >= observed].sum()))


def _summary(records: Sequence[Record]) -> dict[str, int | Estimate]:
  tasks = [list(part) for part in _by_task(records)]
  result: dict[str, int | Estimate] = {"tasks": len(tasks), "episodes": len(records)}
  turns = np.array([sum(r["turns"] for r in part) for part in tasks], float)
  plays = np.array([len(part) for part in tasks], float)
  for metric in METRICS:
    sums = np.array([sum(r[metric] for r in part) for part in tasks], float)
    result[metric] = ratio(sums, turns if metric == "invalid" else plays)
  return result


def _by_task(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
  tasks: dict[str, list[Record]] = {}
  for record in records:
    tasks.setdefault(record["task"], []).append(record)
  yield from tasks.values()


def _by_pair(records: Sequence[Record]) -> dict[tuple[str, int], Record]:
  return {(r["task"], r["seed"]): r for r in records if r["ended"] != "aborted"}
