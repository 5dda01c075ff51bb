"""The Pallas kernels, interpreted on a CPU, equal the plain computation."""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec as P
import numpy as np
import pytest

from empg_jax import token_stats
from empg_jax.core import fused
from empg_jax.kernels import token_stats as kernels


@pytest.fixture
def stats(monkeypatch):
  """fused_token_stats as on a TPU, its kernels interpreted."""
  interpreted = lambda kernel, xla, *args: kernel(*args, interpret=True)
  monkeypatch.setattr(fused, "_on_platform", interpreted)
  return fused.fused_token_stats.__wrapped__  # not what was compiled for CPU


def drawn(b=2, t=21, d=24, v=300, scale=1.0, dtype=jnp.float32):
  rng = np.random.default_rng(0)
  hidden = jnp.asarray(rng.normal(size=(b, t, d)), dtype)
  unembedding = jnp.asarray(scale * rng.normal(size=(d, v)), dtype)
  return hidden, unembedding, jnp.asarray(rng.integers(0, v, (b, t)), jnp.int32)


def plain(hidden, unembedding, actions, **options):
  logits = jnp.dot(hidden, unembedding, preferred_element_type=jnp.float32)
  return token_stats(logits, actions, **options)


def outputs(stats, hidden, unembedding, actions):
  """(logprobs, entropy) and the gradients of both sources."""

  def total(hidden, unembedding):
    logprobs, entropy = stats(hidden, unembedding, actions)
    return jnp.sum(jnp.sin(logprobs)) + jnp.sum(jnp.cos(entropy)), (logprobs, entropy)

  f = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)
  (_, values), gradients = jax.jit(f)(hidden, unembedding)
  return *values, *gradients


def check(got, want, tolerance=2e-5):
  for a, b in zip(got, want, strict=True):
    assert a.dtype == b.dtype
    a, b = np.float32(a), np.float32(b)
    np.testing.assert_allclose(a, b, atol=tolerance * max(1.0, np.max(np.abs(b))))


@pytest.mark.parametrize("shape", [(1, 1, 8, 5), (2, 21, 24, 300), (3, 50, 16, 1100)])
def test_values_and_gradients_equal_token_stats(stats, shape):
  check(outputs(stats, *drawn(*shape)), outputs(plain, *drawn(*shape)))


def test_tiles_that_divide_neither_tokens_nor_vocabulary(stats, monkeypatch):
  monkeypatch.setattr(kernels, "_tile", lambda *_: (16, 128))
  check(outputs(stats, *drawn()), outputs(plain, *drawn()))


@pytest.mark.parametrize("chunk", [4 * 42 * 100, 4 * 42 * 128, 4 * 42 * 299])
def test_a_gradient_in_chunks_of_the_vocabulary(stats, monkeypatch, chunk):
  monkeypatch.setattr(kernels, "_CHUNK", chunk)
  check(outputs(stats, *drawn()), outputs(plain, *drawn()))


def test_extreme_logits_stay_finite_and_exact(stats, monkeypatch):
  monkeypatch.setattr(kernels, "_tile", lambda *_: (16, 128))
  got, want = (outputs(f, *drawn(scale=1e4)) for f in (stats, plain))
  assert all(np.all(np.isfinite(x)) for x in got)
  assert np.all(got[0] <= 0) and np.all(got[1] >= 0)
  check(got, want, tolerance=1e-4)


@pytest.mark.parametrize("shift", [-1e4, 1e4])
def test_logits_far_from_zero(stats, monkeypatch, shift):
  """Padding of the vocabulary must not count, whatever the logits."""
  monkeypatch.setattr(kernels, "_CHUNK", 4 * 42 * 128)
  hidden, unembedding, actions = drawn()
  hidden = hidden.at[..., 0].set(1.0)
  unembedding = unembedding.at[0].set(shift)
  got, want = (outputs(f, hidden, unembedding, actions) for f in (stats, plain))
  check(got, want, tolerance=2e-3)  # the logits themselves are only this exact


def test_bfloat16_operands_accumulate_in_float32(stats):
  got, want = (outputs(f, *drawn(dtype=jnp.bfloat16)) for f in (stats, plain))
  check(got[:2], want[:2])
  check(got[2:], want[2:], tolerance=2e-2)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_temperature_divides_the_products(stats, dtype):
  got, want = (
    outputs(functools.partial(f, temperature=0.7), *drawn(dtype=dtype)) for f in (stats, plain)
  )
  check(got[:2], want[:2])
  check(got[2:], want[2:], tolerance=2e-5 if dtype == jnp.float32 else 2e-2)


def test_overflow_at_unused_tokens_leaves_the_gradient_finite(stats):
  hidden, unembedding, actions = drawn()
  read = jnp.arange(hidden.shape[1]) < 17

  def gradients(hidden):
    def total(hidden, unembedding):
      logprobs, entropy = stats(hidden, unembedding, actions)
      return jnp.sum(jnp.where(read[None], 2 * logprobs + entropy, 0))

    return jax.jit(jax.grad(total, argnums=(0, 1)))(hidden, unembedding)

  check(gradients(hidden.at[:, 17:].set(jnp.nan)), gradients(hidden))


LAYOUTS = {  # of hidden states and of the unembedding
  "rows and vocabulary": (P("data"), P(None, "model")),
  "fully sharded": (P("data", "model"), P("data", "model")),
  "width and vocabulary": (P("data"), P("data", "model")),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_vocabulary_sharded_over_devices(stats, layout):
  mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)
  hidden, unembedding, actions = drawn(b=4, t=6, v=270)
  want = outputs(plain, hidden, unembedding, actions)
  put = lambda x, spec: jax.device_put(x, jax.NamedSharding(mesh, spec))
  operands = [put(x, spec) for x, spec in zip((hidden, unembedding), LAYOUTS[layout])]
  with jax.set_mesh(mesh):
    got = outputs(stats, *operands, put(actions, P("data")))
  check(got, want)


def test_only_tpus_use_the_kernels():
  lowered = jax.jit(fused.fused_token_stats).trace(*drawn())
  assert "tpu_custom_call" not in lowered.lower().as_text()
  assert "tpu_custom_call" in lowered.lower(lowering_platforms=("tpu",)).as_text()
  blocks = jax.jit(functools.partial(fused.fused_token_stats, block_size=64)).trace(*drawn())
  assert "tpu_custom_call" not in blocks.lower(lowering_platforms=("tpu",)).as_text()
