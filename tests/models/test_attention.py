"""Attention of whole rows: blocks and kernels equal the reference."""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from empg_jax.distributed import sharding
from empg_jax.kernels import hardware
from empg_jax.kernels.attention import cudnn, splash
from empg_jax.models import attention


def drawn(batch, length, heads, kv_heads, dim):
  keys = jax.random.split(jax.random.key(0), 3)
  shapes = [(batch, length, n, dim) for n in (heads, kv_heads, kv_heads)]
  return [jax.random.normal(key, shape) for key, shape in zip(keys, shapes)]


def with_gradients(attend, *args):
  total = lambda *args: (jnp.sum(jnp.sin(out := attend(*args))), out)
  return jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True))(*args)


def check(got, *args, tolerance=1e-4):
  by = functools.partial(attend, implementation="reference")
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(with_gradients(by, *args)), strict=True):
    np.testing.assert_allclose(a, b, atol=tolerance, rtol=tolerance)


@pytest.fixture(params=["splash", "cudnn"])
def kernel(request, monkeypatch):
  """The name of a kernel, interpreted or computed by XLA so that it runs here."""
  module, how = {
    "splash": (splash, dict(interpret=True)),
    "cudnn": (cudnn, dict(implementation="xla")),
  }[request.param]
  monkeypatch.setattr(module, "causal", functools.partial(module.causal, **how))
  return request.param


def attend(q, k, v, implementation=None, dtype="float32"):
  return attention.causal_attention(q, k, v, jnp.dtype(dtype), implementation=implementation)


@pytest.mark.parametrize("length", [1, 64, 150])
def test_blocks_equal_the_reference(length):
  args = drawn(2, length, 4, 2, 8)
  check(with_gradients(attend, *args), *args)


@pytest.mark.parametrize("length, heads, kv_heads", [(256, 4, 2), (150, 2, 2), (700, 3, 1)])
def test_a_kernel_equals_the_reference(kernel, length, heads, kv_heads):
  """Rows of any length, and groups of query heads on one key/value head."""
  args = drawn(1, length, heads, kv_heads, 16)
  check(with_gradients(functools.partial(attend, implementation=kernel), *args), *args)


def test_a_kernel_on_shards_equals_the_reference(kernel):
  args = drawn(4, 130, 4, 2, 8)
  mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
  by = functools.partial(attend, implementation=kernel)
  with jax.set_mesh(mesh):
    got = with_gradients(by, *(sharding.to_mesh(x, mesh) for x in args))
  check(got, *args)


def test_heads_that_do_not_divide_over_the_mesh_are_refused(kernel):
  mesh = sharding.make_mesh(tensor=4)
  with jax.set_mesh(mesh), pytest.raises(ValueError, match="2 key/value heads .*tensor 4"):
    jax.jit(functools.partial(attend, implementation=kernel))(*drawn(1, 16, 4, 2, 8))


@pytest.mark.parametrize(
    "here, dtype, file", [("TPU", "float32", "splash"), ("GPU", "bfloat16", "cudnn"),
                          ("GPU", "float32", "blocks"), ("CPU", "bfloat16", "blocks")],
)  # fmt: skip
def test_the_hardware_chooses_the_implementation(here, dtype, file, monkeypatch):
  called = []
  module = importlib.import_module(f"empg_jax.kernels.attention.{file}")
  monkeypatch.setattr(module, "causal", lambda q, k, v: called.append(file) or q)
  monkeypatch.setattr(hardware, "current", lambda: getattr(hardware, here))
  attend(*drawn(1, 4, 2, 1, 8), dtype=dtype)
  assert called == [file]


@pytest.mark.parametrize("length", [1, 16, 37])
def test_a_long_piece_reads_the_cache_some_queries_at_a_time(monkeypatch, length):
  heads, kv_heads, dim, window = 4, 2, 8, 64
  q, _, _ = drawn(2, length, heads, kv_heads, dim)
  pair = lambda n, seed: tuple(jax.random.normal(jax.random.key(seed), (2, 4, n, dim)))
  past, recent = pair(window, 1), pair(length, 2)
  lengths = jnp.array([5, 60])
  seen = jnp.arange(window)[None, :] < lengths[:, None]
  spans = [(0, lambda: past)]
  arguments = q, recent, jnp.tril(jnp.ones((length, length), bool)), spans, lengths, 1
  whole = attention.cached_attention(*arguments)
  monkeypatch.setattr(attention, "_SCORES", 1)
  np.testing.assert_allclose(attention.cached_attention(*arguments), whole, atol=1e-6)
  # What attends over the past and the piece at once says the same.
  k, v = (jnp.concatenate([a, b], 1).reshape(2, kv_heads, -1, dim) for a, b in zip(past, recent))
  visible = jnp.concatenate([jnp.repeat(seen[:, None], length, 1), jnp.broadcast_to(
      arguments[2], (2, length, length))], -1)  # fmt: skip
  scores = jnp.einsum("btkgd,bksd->bkgts", q.reshape(2, length, kv_heads, -1, dim), k) * dim**-0.5
  weights = jax.nn.softmax(jnp.where(visible[:, None, None], scores, -1e30))
  plainly = jnp.einsum("bkgts,bksd->btkgd", weights, v).reshape(q.shape)
  np.testing.assert_allclose(whole, plainly, atol=1e-5)


def test_spans_of_which_a_row_sees_nothing_change_no_bit_of_it():
  q, _, _ = drawn(2, 1, 4, 2, 8)
  pair = lambda n, seed: tuple(jax.random.normal(jax.random.key(seed), (4, n, 8)) for _ in "kv")
  parts = [pair(16, 1), pair(16, 2), pair(32, 3)]
  spans = [(start, lambda kv=kv: kv) for start, kv in zip((0, 16, 32), parts)]

  @jax.jit
  def attend(lengths, count):
    return attention.cached_attention(q, pair(4, 4), jnp.ones((1, 4), bool), spans, lengths, count)

  short = attend(jnp.array([0, 12]), jnp.int32(1))
  np.testing.assert_array_equal(short, attend(jnp.array([0, 12]), jnp.int32(3)))
  np.testing.assert_array_equal(short[1], attend(jnp.array([60, 12]), jnp.int32(3))[1])


def test_cudnn_gets_even_lengths(monkeypatch):
  """Its backward pass refuses odd ones."""
  seen = []

  def attention(q, k, v, **options):
    seen.extend(x.shape[1] for x in (q, k, v))
    return q

  monkeypatch.setattr(jax.nn, "dot_product_attention", attention)
  q, k, v = drawn(1, 333, 4, 2, 8)
  assert cudnn.causal(q, k, v).shape == q.shape
  assert len(set(seen)) == 1 and seen[0] >= 333 and seen[0] % 64 == 0
