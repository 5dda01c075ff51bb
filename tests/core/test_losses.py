"""The clipped policy loss, and that microbatches add up to it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from empg_jax.core.losses import (
  clipped_surrogate,
  kl_estimate,
  kl_penalty,
  policy_loss,
  step_surrogate,
  truncated_surrogate,
)
from empg_jax.core.mismatch import truncated_ratio
from empg_jax.core.weighting import token_weights
from empg_jax.types import TokenStats

B, T = 6, 9
AGGREGATIONS = ("token_mean", "sequence_mean", "sequence_sum", "step_mean")


def drawn(seed=0):
  """(stats, advantages, mask, behavior_logprobs, reference_logprobs)."""
  rng = np.random.default_rng(seed)
  logprobs = -rng.exponential(size=(B, T)).astype(np.float32)
  entropy = rng.random((B, T)).astype(np.float32)
  noise = rng.normal(scale=0.3, size=(2, B, T)).astype(np.float32)
  mask = (rng.random((B, T)) < 0.5) & (np.arange(B) < B - 1)[:, None]
  advantages = rng.normal(size=(B, T)).astype(np.float32)
  return TokenStats(logprobs, entropy), advantages, jnp.asarray(mask), *(logprobs + noise)


@jax.jit
def value_and_gradient(stats, advantages, weights, behavior=None, reference=None):
  def loss(stats):
    return policy_loss(
      stats, advantages, weights, behavior_logprobs=behavior,
      reference_logprobs=reference, kl_coef=0.1, entropy_coef=0.01,
    )  # fmt: skip

  (loss, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(stats)
  return loss, metrics, gradient


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_microbatches_add_up_to_the_batch(aggregation):
  stats, advantages, mask, *logprobs = drawn()
  args = stats, advantages, token_weights(mask, aggregation), *logprobs
  loss, metrics, gradient = value_and_gradient(*args)
  parts = [
    value_and_gradient(*jax.tree.map(lambda x: x[rows], args))
    for rows in (slice(0, 2), slice(2, 4), slice(4, 6))
  ]
  sums = jax.tree.map(lambda *parts: sum(parts), *((p[0], p[1]) for p in parts))
  for a, b in zip(jax.tree.leaves(sums), jax.tree.leaves((loss, metrics)), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-6)
  joined = jax.tree.map(lambda *parts: np.concatenate(parts), *(p[2] for p in parts))
  np.testing.assert_allclose(joined, gradient, atol=1e-7)


@pytest.mark.parametrize(
  "ratio, advantage, loss, slope",
  [(5, -1, 3, 0), (2, -1, 2, 2), (0.5, -1, 0.8, 0), (5, 1, -1.2, 0), (1.1, 1, -1.1, -1.1)],
)
def test_dual_clip_bounds_what_one_token_can_do(ratio, advantage, loss, slope):
  one = jnp.ones((1, 1))

  def value(log_ratio):
    out = clipped_surrogate(one, log_ratio, advantage * one, dual_clip=3.0)
    return out.loss[0, 0], out

  (got, out), gradient = jax.value_and_grad(value, has_aux=True)(jnp.log(ratio) * one)
  np.testing.assert_allclose(got, loss, rtol=1e-5)
  np.testing.assert_allclose(gradient, slope, rtol=1e-5)
  assert (bool(out.low[0, 0]), bool(out.high[0, 0])) == (ratio < 0.8, slope == 0 and ratio > 1)


@pytest.mark.parametrize("ratio, held", [(0.5, 0.8), (1.1, 1.1), (5.0, 1.3)])
def test_no_gradient_flows_through_a_truncated_ratio(ratio, held):
  one = jnp.ones((1, 1))

  def value(logprobs):
    log_ratio = logprobs - jax.lax.stop_gradient(logprobs) + jnp.log(ratio)
    surrogate = truncated_surrogate(logprobs, log_ratio, 2 * one, clip_low=0.2, clip_high=0.3)
    return surrogate.loss[0, 0]

  np.testing.assert_allclose(jax.grad(value)(-0.7 * one), -2 * held, rtol=1e-5)


def test_the_tokens_of_a_step_share_one_ratio_and_its_gradient():
  log_ratio, steps = jnp.array([[0.3, -0.1, 0.6]]), jnp.array([[1, 1, 2]])

  def values(log_ratio):
    one = jnp.ones((1, 3))
    return step_surrogate(one, log_ratio, one, steps=steps, clip_low=0.2, clip_high=0.3).loss[0]

  first, high = np.exp(0.1), 1.3  # exp of the step's mean; the other one is clipped
  np.testing.assert_allclose(values(log_ratio), [-first, -first, -high], rtol=1e-5)
  slope = [-first / 2, -first / 2, 0]
  np.testing.assert_allclose(jax.jacobian(values)(log_ratio)[0, 0], slope, rtol=1e-5)


def test_estimates_of_the_kl_divergence_have_its_mean_or_its_gradient():
  """Over every outcome of a small policy: k1 and k3 have its value, k2 its gradient."""
  z, reference = jnp.array([0.3, -1.0, 0.9]), jax.nn.log_softmax(jnp.array([1.0, 0.2, -0.5]))
  kl = lambda z: jnp.sum(jax.nn.softmax(z) * (jax.nn.log_softmax(z) - reference))
  p = jax.nn.softmax(z)
  mean = lambda z, kind: p @ kl_estimate((reference - jax.nn.log_softmax(z))[None], kind)[0]
  for kind in ("k1", "k3"):
    np.testing.assert_allclose(mean(z, kind), kl(z), rtol=1e-5)
  np.testing.assert_allclose(jax.grad(mean)(z, "k2"), jax.grad(kl)(z), atol=1e-6)


def test_a_token_s_penalty_is_bounded_and_has_no_gradient_beyond():
  """As in verl: a reference 15 nats above added 32,690 to a loss of one token at 0.01."""
  log_q = jnp.array([[2.0, 15.0, -9.0, -15.0]])
  value = lambda log_q: jnp.sum(kl_penalty(log_q, "k3"))
  want = [[np.exp(2) - 3, 10, np.exp(-9) + 8, 10]]
  np.testing.assert_allclose(kl_penalty(log_q, "k3"), want, rtol=1e-5)
  slope = [[np.exp(2) - 1, 0, np.exp(-9) - 1, 0]]
  np.testing.assert_allclose(jax.grad(value)(log_q), slope, rtol=1e-5)
  one = np.ones((1, 1), np.float32)
  _, metrics, _ = value_and_gradient(TokenStats(-16 * one, one), one, one, None, -one)
  np.testing.assert_allclose(metrics["loss/kl"], 10)
  for kind in ("k1", "k2"):
    np.testing.assert_array_equal(kl_penalty(log_q, kind), kl_estimate(log_q, kind))


def test_the_ratio_of_trainer_and_sampler_is_truncated_and_measured():
  mask = jnp.array([[True, True, True, False]])
  sampler = TokenStats(jnp.array([[-1.0, -1.0, -9.0, -1.0]]), jnp.ones((1, 4)))
  trainer = TokenStats(jnp.array([[-1.0, -2.0, -1.0, 0.0]]), jnp.full((1, 4), 1.5))
  ratio, metrics = truncated_ratio(trainer, sampler, mask, 2.0)
  np.testing.assert_allclose(ratio, [[1, np.exp(-1), 2, 1]], rtol=1e-6)
  np.testing.assert_allclose(metrics["mismatch/ratio_max"], np.exp(8), rtol=1e-5)
  np.testing.assert_allclose(metrics["mismatch/truncated"], 1 / 3, rtol=1e-6)
  np.testing.assert_allclose(metrics["mismatch/entropy"], 0.5)
  want = sum(np.exp(x) - 1 - x for x in (0, -1, 8)) / 3
  np.testing.assert_allclose(metrics["mismatch/kl"], want, rtol=1e-5)


def test_on_policy_the_gradient_is_the_policy_gradient():
  stats, advantages, mask, *_ = drawn()
  weights = token_weights(mask)
  _, metrics, gradient = value_and_gradient(stats, advantages, weights)
  np.testing.assert_allclose(gradient.logprobs, -weights * advantages, atol=1e-7)
  assert metrics["loss/clip_fraction"] == metrics["loss/kl"] == 0
  assert metrics["loss/behavior_kl"] == 0


@pytest.mark.parametrize(
  "ratio, advantage, clipped",
  [(1.5, 1, True), (1.5, -1, False), (0.5, 1, False), (0.5, -1, True), (1.1, 1, False)],
)
def test_a_clipped_ratio_has_no_gradient(ratio, advantage, clipped):
  one = np.ones((1, 1), np.float32)
  stats = TokenStats(-one, one)
  behavior = -one - np.log(np.float32(ratio))
  _, metrics, gradient = value_and_gradient(stats, advantage * one, one, behavior)
  assert metrics["loss/clip_fraction"] == float(clipped)
  np.testing.assert_allclose(
    gradient.logprobs[0, 0], 0 if clipped else -ratio * advantage, rtol=1e-5
  )


def test_tokens_outside_the_mask_are_ignored():
  stats, advantages, mask, *logprobs = drawn()
  weights = token_weights(mask)
  spoilt = jax.tree.map(lambda x: np.where(mask, x, np.nan), (stats, advantages, *logprobs))
  got = value_and_gradient(spoilt[0], spoilt[1], weights, *spoilt[2:])
  want = value_and_gradient(stats, advantages, weights, *logprobs)
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("gap", [-2e4, 2e4])
def test_very_different_policies_give_finite_numbers(gap):
  one = np.ones((1, 1), np.float32)
  stats = TokenStats(-one, one)
  for advantage in (one, -one):
    out = value_and_gradient(stats, advantage, one, gap * one, gap * one)
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(out))
