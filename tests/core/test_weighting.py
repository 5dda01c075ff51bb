"""Token weights: equal weights of tokens, steps or episodes, in both row layouts."""

import cases
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from empg_jax.core import weighting
from empg_jax.training import microbatch

row_votes = jax.jit(weighting.row_votes, static_argnames="aggregation")
token_weights = jax.jit(weighting.token_weights, static_argnames="aggregation")
AGGREGATIONS = ("token_mean", "sequence_mean", "sequence_sum", "step_mean")


@pytest.mark.parametrize("kind", cases.KINDS)
def test_weights_are_those_of_a_loop_over_steps(kind):
  case = cases.case(kind, 0)
  for aggregation in AGGREGATIONS:
    ids = case.episode_ids
    got = token_weights(jnp.asarray(case.step_mask), aggregation, episode_ids=ids, length=7.0)
    want = oracle.token_weights(case.step_mask, aggregation, ids, length=7.0)
    np.testing.assert_allclose(got, want, rtol=2e-6, err_msg=aggregation)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_weights_sum_to_one_or_to_the_tokens_of_an_episode(aggregation):
  steps = cases.packed(np.random.default_rng(0), rows=4)
  weights = token_weights(steps, aggregation)
  mask = steps > 0
  total = mask.sum() / mask.any(axis=1).sum() if aggregation == "sequence_sum" else 1
  np.testing.assert_allclose(jnp.sum(weights), total, rtol=1e-6)
  np.testing.assert_array_equal(weights > 0, mask)
  np.testing.assert_array_equal(token_weights(np.zeros((2, 3), bool), aggregation), 0)


def test_each_aggregation_gives_equal_weights_to_its_units():
  steps = np.array([[1, 1, 2, 0], [1, 0, 0, 0], [3, 0, 0, 0], [0, 0, 0, 0]])
  episodes, mask = np.array([5, 9, 5, 9]), steps > 0
  weights = lambda kind: token_weights(steps, kind, episode_ids=episodes, length=10.0)
  np.testing.assert_allclose(weights("token_mean"), mask / 5)
  np.testing.assert_allclose(weights("sequence_mean"), mask / np.array([[8], [2], [8], [2]]))
  np.testing.assert_allclose(weights("sequence_sum"), mask / 20)
  np.testing.assert_allclose(weights("step_mean")[0], np.array([0.5, 0.5, 1, 0]) / 4)
  votes = lambda kind: row_votes(steps, kind, episode_ids=episodes)
  np.testing.assert_allclose(votes("token_mean"), [3, 1, 1, 0])
  np.testing.assert_allclose(votes("sequence_mean"), [0.75, 1, 0.25, 0])
  np.testing.assert_allclose(votes("step_mean"), [2, 1, 1, 0])


@pytest.mark.parametrize("aggregation", AGGREGATIONS[:2] + AGGREGATIONS[3:])
def test_minibatches_that_share_an_episode_are_each_a_mean(aggregation):
  """Rows 0, 2, 4, ... are in the first minibatch; each has only parts of the episode."""
  steps = np.array([[1, 1, 0], [2, 0, 0], [3, 3, 3], [4, 0, 0], [5, 5, 0], [0, 0, 0]])
  one = np.zeros(6, int)
  weights = token_weights(steps, aggregation, episode_ids=one)
  votes = row_votes(steps, aggregation, episode_ids=one)
  shared = np.asarray(microbatch.share(weights, votes, 1, 2))
  for minibatch in (shared[0::2], shared[1::2]):
    np.testing.assert_allclose(minibatch.sum(), 1, rtol=1e-6)
  ratio = shared[steps > 0] / weights[steps > 0]
  assert np.unique(np.round(ratio, 5)).size == 2  # within a minibatch nothing changed


def test_an_unknown_aggregation_is_refused():
  with pytest.raises(Exception, match="aggregation"):
    token_weights(jnp.ones((1, 1), bool), "mean")
