"""Log-probability and entropy of a policy, and their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from empg_jax import token_stats

B, T, V = 3, 4, 7


def drawn(seed=0, scale=2.0):
  rng = np.random.default_rng(seed)
  logits = (rng.normal(size=(B, T, V)) * scale).astype(np.float32)
  return logits, rng.integers(0, V, (B, T)).astype(np.int32), rng


@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0, 1e4])
def test_equal_a_float64_softmax(scale):
  logits, actions, _ = drawn(scale=scale)
  logprobs, entropy, _ = oracle.token_stats(logits, actions)
  got = token_stats(logits, actions)
  np.testing.assert_allclose(got.logprobs, logprobs, rtol=1e-5, atol=1e-5)
  np.testing.assert_allclose(got.entropy, entropy, rtol=1e-5, atol=1e-5)
  assert np.all(got.logprobs <= 0) and np.all(got.entropy >= 0)


def test_bfloat16_logits_are_computed_in_float32():
  logits, actions, _ = drawn()
  logits = jnp.asarray(logits, jnp.bfloat16)
  got = token_stats(logits, actions)
  want = token_stats(logits.astype(jnp.float32), actions)
  np.testing.assert_array_equal(got, want)
  assert got.entropy.dtype == jnp.float32


@pytest.mark.parametrize("temperature", [1.0, 0.4, 3.0])
def test_gradients_are_the_closed_form(temperature):
  """g_logp (onehot - p) - g_H p (log p + H), over the temperature."""
  logits, actions, rng = drawn()
  g_logp, g_entropy = rng.normal(size=(2, B, T, 1)).astype(np.float32)

  def total(logits):
    logprobs, entropy = token_stats(logits, actions, temperature=temperature)
    return jnp.sum(g_logp[..., 0] * logprobs + g_entropy[..., 0] * entropy)

  _, entropy, log_p = oracle.token_stats(logits / temperature, actions)
  p, onehot = np.exp(log_p), np.eye(V)[actions]
  want = g_logp * (onehot - p) - g_entropy * p * (log_p + entropy[..., None])
  np.testing.assert_allclose(jax.grad(total)(logits), want / temperature, atol=1e-5)


def test_tokens_of_probability_0_do_not_count():
  logits, actions, _ = drawn()
  actions %= V - 2
  barred = logits.copy()
  barred[..., V - 2 :] = -np.inf
  want = token_stats(logits[..., : V - 2], actions)
  np.testing.assert_allclose(token_stats(barred, actions), want, atol=1e-6)

  def total(logits):
    logprobs, entropy = token_stats(logits, actions)
    return jnp.sum(jnp.sin(logprobs) + jnp.cos(entropy))

  gradient = jax.grad(total)(barred)
  np.testing.assert_allclose(
    gradient[..., : V - 2], jax.grad(total)(logits[..., : V - 2]), atol=1e-6
  )
  np.testing.assert_array_equal(gradient[..., V - 2 :], 0)


def test_unused_tokens_may_hold_any_id():
  logits, actions, _ = drawn()
  actions[0, 0], actions[1, 1] = -100, V + 5
  stats = token_stats(logits, actions)
  assert np.all(np.isfinite(stats.logprobs))


@pytest.mark.parametrize("scale", [0.0, 1.0, 8.0])
def test_confident_policies_have_small_gradients(scale):
  """Proposition 1: E_a ||grad_z log pi(a)||^2 = 1 - sum_j pi_j^2 = 1 - exp(-H_2)."""
  logits = drawn(scale=scale)[0][:1, :1]
  p = np.exp(oracle.token_stats(logits, np.zeros((1, 1), int))[2][0, 0])

  def logprob(logits, action):
    return token_stats(logits, action[None, None]).logprobs[0, 0]

  squared = [
    np.sum(np.square(jax.grad(logprob)(logits, jnp.asarray(a))), dtype=np.float64) for a in range(V)
  ]
  renyi_2 = -np.log(np.sum(p**2))
  np.testing.assert_allclose(p @ squared, 1 - np.exp(-renyi_2), atol=1e-6)
  closed = [np.sum((np.eye(V)[a] - p) ** 2) for a in range(V)]
  np.testing.assert_allclose(p @ closed, 1 - np.sum(p**2), atol=1e-12)
