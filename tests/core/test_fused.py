"""The fused operation equals token_stats of the logits without holding them all."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from empg_jax import fused_token_stats, token_stats
from empg_jax.core import fused_blocks
from empg_jax.generation import sampling
from empg_jax.kernels import hardware

B, T, D, V = 3, 10, 8, 50


def drawn(seed=0, scale=1.0, dtype=np.float32):
  rng = np.random.default_rng(seed)
  hidden = jnp.asarray(rng.normal(size=(B, T, D)), dtype)
  unembedding = jnp.asarray(scale * rng.normal(size=(D, V)), dtype)
  actions = rng.integers(0, V, (B, T)).astype(np.int32)
  cotangents = rng.normal(size=(2, B, T)).astype(np.float32)
  return hidden, unembedding, actions, cotangents


def unfused(hidden, unembedding, actions, temperature=1.0, **_):
  logits = jnp.dot(hidden, unembedding, preferred_element_type=jnp.float32)
  return token_stats(logits, actions, temperature=temperature)


def outputs(stats, hidden, unembedding, actions, cotangents, temperature=1.0):
  """logprobs, entropy, and the gradients of all three sources."""

  def total(hidden, unembedding, temperature):
    logprobs, entropy = stats(hidden, unembedding, actions, temperature=temperature)
    total = jnp.sum(cotangents[0] * logprobs + cotangents[1] * entropy)
    return total, (logprobs, entropy)

  gradients, values = jax.grad(total, argnums=(0, 1, 2), has_aux=True)(
    hidden, unembedding, temperature
  )
  return (*values, *gradients)


def check(got, want, tolerance=1e-5):
  for a, b in zip(got, want, strict=True):
    assert a.dtype == b.dtype
    a, b = np.float32(a), np.float32(b)
    scale = max(1.0, np.max(np.abs(b)))
    np.testing.assert_allclose(a, b, atol=tolerance * scale)


@pytest.mark.parametrize("block_size", [None, 1, 7, 10, 25, V, 99])
def test_equals_token_stats_in_value_and_all_gradients(block_size):
  fused = functools.partial(fused_token_stats, block_size=block_size)
  check(outputs(fused, *drawn()), outputs(unfused, *drawn()))


@pytest.mark.parametrize("block_size", [16, V])
@pytest.mark.parametrize("temperature", [0.4, 2.0])
def test_a_temperature_divides_the_logits(temperature, block_size):
  fused = functools.partial(fused_token_stats, block_size=block_size)
  check(outputs(fused, *drawn(), temperature), outputs(unfused, *drawn(), temperature))


@pytest.mark.parametrize("block_size", [16, V])
def test_extreme_logits_stay_finite_and_exact(block_size):
  fused = functools.partial(fused_token_stats, block_size=block_size)
  hidden, *rest = drawn(scale=1e4)
  got = outputs(fused, hidden, *rest)
  assert all(np.all(np.isfinite(x)) for x in got)
  assert np.all(got[0] <= 0) and np.all(got[1] >= 0)
  check(got, outputs(unfused, hidden, *rest), tolerance=1e-4)


@pytest.mark.parametrize("block_size", [16, V])
def test_bfloat16_operands_accumulate_in_float32(block_size):
  fused = functools.partial(fused_token_stats, block_size=block_size)
  got = outputs(fused, *drawn(dtype=jnp.bfloat16))
  want = outputs(unfused, *drawn(dtype=jnp.bfloat16))
  check(got[:2], want[:2])
  check(got[2:], want[2:], tolerance=2e-2)


@pytest.mark.parametrize("temperature", [1.0, 0.4, 0.7])
def test_compute_dtype_rounds_the_operands_alone(temperature):
  """The temperature divides the float32 logits, as in sampling, and rounds no operand."""
  hidden, unembedding, actions, cotangents = drawn()
  fused = functools.partial(fused_token_stats, compute_dtype=jnp.bfloat16)
  got = outputs(fused, hidden, unembedding, actions, cotangents, temperature)
  rounded = [x.astype(jnp.bfloat16) for x in (hidden, unembedding)]
  check(got[:2], unfused(*rounded, actions, temperature))
  check(got[2:], outputs(unfused, *drawn(), temperature)[2:], tolerance=3e-2)


@pytest.mark.parametrize("temperature", [0.4, 0.7])
def test_training_reproduces_the_logprobs_of_sampling(temperature):
  hidden, unembedding, *_ = drawn(dtype=jnp.bfloat16)
  logits = jnp.dot(hidden[:, 0], unembedding, preferred_element_type=jnp.float32)
  keys = jax.random.split(jax.random.key(0), B)
  sample = jax.jit(sampling.sample)
  ids, *recorded = sample(logits, keys, jnp.zeros(B, jnp.int32), jnp.float32(temperature))
  got = fused_token_stats(hidden[:, :1], unembedding, ids[:, None], temperature=temperature)
  for a, b in zip(got, recorded, strict=True):
    np.testing.assert_allclose(a[:, 0], b, atol=2e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("block_size", [None, 16])
def test_overflow_at_unused_tokens_leaves_the_gradient_finite(bad, block_size):
  fused = functools.partial(fused_token_stats, block_size=block_size)
  hidden, unembedding, actions, cotangents = drawn()
  cotangents[:, 0] = cotangents[:, 1, 2] = 0
  want = outputs(fused, hidden, unembedding, actions, cotangents)
  spoilt = hidden.at[0].set(bad).at[1, 2, 3].set(bad)

  def total(*sources):
    logprobs, entropy = fused(*sources[:2], actions, temperature=sources[2])
    read = cotangents[0] != 0
    return jnp.sum(jnp.where(read, cotangents[0] * logprobs + cotangents[1] * entropy, 0))

  got = jax.grad(total, argnums=(0, 1, 2))(spoilt, unembedding, 1.0)
  check(got, want[2:])


@pytest.mark.parametrize("block_size", [None, 16])
def test_a_second_derivative_is_that_of_the_plain_computation(block_size):
  hidden, unembedding, actions, _ = drawn()

  def of_slope(stats, **options):
    def total(hidden, unembedding):
      logprobs, entropy = stats(hidden, unembedding, actions, **options)
      return jnp.sum(jnp.sin(logprobs) + entropy**2)

    slope = lambda hidden: jnp.sum(jax.grad(total, 1)(hidden, unembedding) ** 2)
    return jax.jit(jax.grad(slope))(hidden)

  want = of_slope(unfused)
  scale = np.max(np.abs(want))
  got = of_slope(fused_token_stats, block_size=block_size)
  np.testing.assert_allclose(got / scale, want / scale, atol=1e-5)


def test_forward_mode_raises():
  hidden, unembedding, actions, _ = drawn()
  with pytest.raises(TypeError, match="forward-mode"):
    jax.jvp(lambda h: fused_token_stats(h, unembedding, actions), (hidden,), (hidden,))


def test_a_tied_embedding_is_passed_transposed():
  hidden, unembedding, actions, cotangents = drawn()

  def total(embedding):
    logprobs, entropy = fused_token_stats(hidden, embedding.T, actions)
    return jnp.sum(cotangents[0] * logprobs + cotangents[1] * entropy)

  want = outputs(unfused, hidden, unembedding, actions, cotangents)[3]
  np.testing.assert_allclose(jax.grad(total)(unembedding.T), want.T, atol=1e-5)


def test_unused_tokens_may_hold_any_id():
  hidden, unembedding, actions, _ = drawn()
  actions[0, 0], actions[1, 1] = -100, V + 5
  got = fused_token_stats(hidden, unembedding, actions, block_size=16)
  np.testing.assert_allclose(got, unfused(hidden, unembedding, actions), atol=1e-5)


@pytest.mark.parametrize("vocab", [32_000, 49_152, 128_256, 151_936, 152_064])
def test_vocabularies_of_released_models_are_not_padded(vocab):
  for tokens in (64, 512, 1024, 4096, 16_384):
    blocks = fused_blocks.count(tokens, vocab, None)
    assert vocab % blocks == 0
    assert tokens * vocab // blocks <= 4 * max(2**19, 512 * tokens)


def temporaries(stats, b, t, d, v):
  """XLA's temporary bytes for the value and both gradients; nothing is run."""

  def total(hidden, unembedding, actions):
    logprobs, entropy = stats(hidden, unembedding, actions)
    return jnp.sum(logprobs * actions) + jnp.sum(entropy)

  args = [
    jax.ShapeDtypeStruct(shape, dtype)
    for shape, dtype in (((b, t, d), "float32"), ((d, v), "float32"), ((b, t), "int32"))
  ]
  compiled = jax.jit(jax.grad(total, argnums=(0, 1))).lower(*args).compile()
  return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.usefixtures("optimized")
def test_temporaries_do_not_grow_with_the_logits():
  b, t, d, v = 8, 512, 8, 32768
  logits = 4 * b * t * v
  small = temporaries(fused_token_stats, b, t, d, v)
  assert small < logits / 8
  assert temporaries(token_stats_of_logits, b, t, d, v) >= logits
  # Four times the vocabulary, or the tokens: only the operands' own sizes grow.
  assert temporaries(fused_token_stats, b, t, d, 4 * v) < small + 4 * 4 * 4 * d * v
  longer = temporaries(fused_token_stats, b, 4 * t, d, v)
  assert longer < 4 * logits / 8


def token_stats_of_logits(hidden, unembedding, actions):
  return token_stats(hidden @ unembedding, actions)


@pytest.mark.parametrize("here, blocks", [("CPU", 128), ("GPU", 16)])
def test_a_block_has_the_hardwares_size_and_divides_the_vocabulary(here, blocks, monkeypatch):
  monkeypatch.setattr(hardware, "current", lambda: getattr(hardware, here))
  assert fused_blocks.count(8192, 151_936, None) == blocks
  assert 151_936 % blocks == 0
