"""Returns relative to their group, each episode counted once."""

import numpy as np
import pytest

from empg_jax import group_advantages


@pytest.mark.parametrize("ddof", [0, 1])
def test_equals_a_loop_over_groups(ddof):
  rng = np.random.default_rng(0)
  for _ in range(20):
    returns = rng.normal(size=12).astype(np.float32)
    groups = rng.choice([-3, 0, 5, 1000], 12)
    want = np.zeros(12)
    for group in set(groups):
      r = returns[groups == group].astype(np.float64)
      std = r.std(ddof=ddof) if len(r) > 1 else 0.0
      want[groups == group] = (r - r.mean()) / (std + 1e-6)
    np.testing.assert_allclose(group_advantages(returns, groups, ddof=ddof), want, atol=1e-4)


def test_wins_and_losses():
  returns, groups = np.array([10.0, 0, 10, 10]), np.array([0, 0, 1, 1])
  np.testing.assert_allclose(group_advantages(returns, groups), [1, -1, 0, 0], atol=1e-6)
  centred = group_advantages(returns, groups, scale_by_std=False)
  np.testing.assert_allclose(centred, [5, -5, 0, 0])


@pytest.mark.parametrize("value", [0.1, 9.7, -1e5])
@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("ddof", [0, 1])
def test_equal_returns_have_advantages_of_exactly_0(value, size, ddof):
  """Rounding must not be amplified to an advantage."""
  returns = np.full(8, value, np.float32)
  groups = np.where(np.arange(8) < size, 4, 2)
  np.testing.assert_array_equal(group_advantages(returns, groups, ddof=ddof), 0)


def test_filler_rows_do_not_count():
  returns, groups = np.array([1.0, 0, 0, 99, 99]), np.array([0, 0, 0, 0, 7])
  exists = np.array([True, True, True, False, False])
  got = group_advantages(returns, groups, exists=exists)
  np.testing.assert_allclose(got[:3], group_advantages(returns[:3], groups[:3]), atol=1e-6)
  np.testing.assert_array_equal(got[3:], 0)


def test_an_episode_of_many_turns_counts_once():
  rng = np.random.default_rng(1)
  returns = rng.normal(size=5).astype(np.float32)
  groups = np.array([0, 0, 0, 1, 1])
  episodes = np.repeat(np.arange(5), [1, 4, 2, 3, 1])
  order = rng.permutation(len(episodes))
  episodes = episodes[order]
  for ddof in (0, 1):
    got = group_advantages(
      returns[episodes], groups[episodes], episode_ids=episodes + 50, ddof=ddof
    )
    want = group_advantages(returns, groups, ddof=ddof)[episodes]
    np.testing.assert_allclose(got, want, atol=1e-5)
