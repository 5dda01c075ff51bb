"""A token is drawn with the probability that is recorded for it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from empg_jax.generation import sampling

ROWS = 20_000


def draw(logits, temperature=1.0, seed=0):
  keys = jax.random.split(jax.random.key(seed), ROWS)
  rows = jnp.broadcast_to(logits, (ROWS, logits.size))
  first = jnp.zeros(ROWS, jnp.int32)
  return jax.jit(sampling.sample)(rows, keys, first, jnp.float32(temperature))


@pytest.mark.parametrize("vocab", [3, 256, 600])
def test_frequencies_are_the_probabilities(vocab):
  logits = jax.random.normal(jax.random.key(1), (vocab,))
  ids, logprobs, entropy = draw(logits, temperature=0.7)
  p = np.asarray(jax.nn.softmax(logits / 0.7), np.float64)
  counts, expected = np.bincount(ids, minlength=vocab), p * ROWS
  chi_square = np.sum((counts - expected) ** 2 / expected)
  degrees = vocab - 1
  assert abs(chi_square - degrees) < 4 * np.sqrt(2 * degrees)
  np.testing.assert_allclose(logprobs, np.log(p)[ids], atol=1e-5)
  np.testing.assert_allclose(entropy, -np.sum(p * np.log(p)), rtol=1e-5)


def test_what_has_no_probability_is_never_drawn():
  logits = np.full(700, -np.inf, np.float32)
  logits[[0, 1, 255, 256, 511, 699]] = [-100, 0, 0, 1, -100, 0]
  keys = jax.random.split(jax.random.key(0), ROWS)
  rows = jnp.broadcast_to(logits, (ROWS, 700))
  ids, logprobs, _ = sampling.sample(rows, keys, jnp.zeros(len(rows), jnp.int32), jnp.float32(1))
  assert set(np.unique(ids)) == {1, 255, 256, 699}
  assert np.isfinite(logprobs).all()


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_models_padding_is_never_drawn(temperature):
  """They pad the model's; probabilities and entropies stay those that training computes."""
  logits = jax.random.normal(jax.random.key(1), (300,)).at[280:].add(3)
  keys = jax.random.split(jax.random.key(0), ROWS)
  rows = jnp.broadcast_to(logits, (ROWS, 300))
  ids, logprobs, entropy = sampling.sample(
    rows, keys, jnp.zeros(len(rows), jnp.int32), jnp.float32(temperature), vocab_size=280
  )
  assert ids.max() < 280
  want = jax.nn.log_softmax(logits / (temperature or 1))
  np.testing.assert_allclose(logprobs, want[ids], atol=1e-5)
  np.testing.assert_allclose(entropy, -jnp.sum(jnp.exp(want) * want), rtol=1e-5)
  if temperature:
    p = np.exp(want[:280], dtype=np.float64) / np.exp(want[:280], dtype=np.float64).sum()
    counts, expected = np.bincount(ids, minlength=280), p * ROWS
    assert abs(np.sum((counts - expected) ** 2 / expected) - 279) < 4 * np.sqrt(2 * 279)
  else:
    assert set(np.unique(ids)) == {int(jnp.argmax(logits[:280]))}


def test_greedy_takes_the_likeliest():
  logits = jax.random.normal(jax.random.key(1), (300,))
  ids, _, _ = draw(logits, temperature=0.0)
  assert set(np.unique(ids)) == {int(jnp.argmax(logits))}
