"""Means, intervals and p values of evaluations."""

import itertools
import math

from made_records import record
import numpy as np
import pytest

from empg_jax.evaluation import statistics, tables


def test_means_are_over_episodes_and_invalid_over_turns():
  records = [
    record("a", True, turns=2, invalid=1),
    record("b", False, kind="cool", turns=8),
    record("c", True, ended="aborted"),
  ]
  summary = statistics.summarize(records)
  assert list(summary) == ["all", "cool", "heat"]
  assert summary["all"]["episodes"] == 2 and summary["all"]["success"].mean == 0.5
  assert summary["all"]["turns"].mean == 5 and summary["all"]["invalid"].mean == 0.1
  assert summary["heat"]["success"] == (1.0, 1.0, 1.0)


def test_the_interval_is_that_of_a_mean_of_independent_tasks():
  rng = np.random.default_rng(1)
  records = [record(str(i), bool(rng.random() < 0.7)) for i in range(400)]
  mean, low, high = statistics.summarize(records)["all"]["success"]
  half = 1.96 * math.sqrt(mean * (1 - mean) / 400)
  assert low == pytest.approx(mean - half, abs=0.004)
  assert high == pytest.approx(mean + half, abs=0.004)


def test_episodes_of_one_task_are_not_counted_as_independent():
  once = [record(str(i), i % 2 == 0) for i in range(100)]
  often = [record(str(i), i % 2 == 0, seed) for i in range(100) for seed in range(9)]
  assert statistics.summarize(often)["all"]["success"] == pytest.approx(
    statistics.summarize(once)["all"]["success"]
  )


def test_paired_differences_have_narrower_intervals_than_means():
  a = [record(str(i), i < 50) for i in range(100)]
  b = [record(str(i), i < 58) for i in range(100)]
  found = statistics.compare(a, b, "success")
  assert (found.a, found.b) == (0.5, 0.58)
  assert found.difference.mean == pytest.approx(0.08) and found.difference.low > 0
  assert found.p == pytest.approx(2 / 2**8)


def test_pairs_are_of_the_same_task_and_seed_and_both_played():
  a = [record("a", True), record("b", False), record("c", True, ended="aborted")]
  b = [record("a", False), record("b", True, seed=1), record("c", False), record("d", False)]
  found = statistics.compare(a, b, "success")
  assert (found.a, found.b, found.difference.mean, found.p) == (1.0, 0.0, -1.0, 1.0)
  assert statistics.compare(a, b, "success", kind="cool") is None


@pytest.mark.parametrize("deltas", [[1, 1, -1, 0], [3, -1, 2, 2, 1], [0.25, 0.1, -0.3], [0, 0]])
def test_the_p_value_is_the_share_of_all_signs_that_reach_the_sum(deltas):
  signs = itertools.product((-1, 1), repeat=len(deltas))
  sums = [abs(round(100 * sum(s * d for s, d in zip(each, deltas)))) for each in signs]
  want = np.mean([x >= abs(round(100 * sum(deltas))) for x in sums])
  assert statistics.sign_flip_p(np.array(deltas, float)) == pytest.approx(want)


def test_the_p_value_of_single_plays_is_the_binomials():
  deltas = np.array([1.0] * 14 + [-1.0] * 4 + [0.0] * 80)
  tail = sum(math.comb(18, k) for k in range(5)) / 2**18
  assert statistics.sign_flip_p(deltas) == pytest.approx(2 * tail)


def test_tables_show_means_intervals_and_differences():
  a = [record(str(i), i < 5) for i in range(10)]
  b = [record(str(i), True) for i in range(10)]
  text = tables.results(statistics.summarize(a))
  assert "50.0 [20.0, 80.0]" in text and text.splitlines()[-2].startswith("all")
  text = tables.comparison(["a.json", "b.json"], [a, b])
  assert "+50.0 [+20.0, +80.0]" in text and "0.0625" in text and "success, heat" in text
