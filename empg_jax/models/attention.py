"""Causal attention with grouped key/value heads: for training rows and for cached decoding."""

import importlib

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float

from empg_jax.distributed import sharding
from empg_jax.kernels import hardware
from empg_jax.kernels.attention import products

_SCORES = 2**26  # that cached_attention holds at a time, as it reads a long piece


def causal_attention(
  q: Float[Array, "B T H D"],
  k: Float[Array, "B T K D"],
  v: Float[Array, "B T K D"],
  compute_dtype: jax.typing.DTypeLike,
  *,
  implementation: str | None = None,
) -> Float[Array, "B T H D"]:
  """Softmax attention of each token over the tokens up to itself, without [T, T] scores.

  Rows and heads are not moved: the key/value heads are sharded over the mesh's axis `tensor`.

  Args:
    q, k, v: of one length; each key/value head serves H / K consecutive query heads.
    compute_dtype: of the operands of the matrix products.
    implementation: a file of kernels.attention; None: the one for the hardware.

  Raises:
    ValueError: a kernel is used and the heads do not divide over the mesh.
  """
  name = implementation or hardware.current().attention_of(compute_dtype, q.shape[-1])
  causal = importlib.import_module(f"empg_jax.kernels.attention.{name}").causal
  q, k, v = (x.astype(compute_dtype) for x in (q * q.shape[-1] ** -0.5, k, v))
  if name in ("blocks", "reference"):
    return causal(q, k, v)
  sharding.check_heads(k.shape[2])
  spec = PartitionSpec(sharding.ROWS, None, sharding.TENSOR)
  return sharding.on_shards(causal, (spec,) * 3, spec)(q, k, v)


def cached_attention(
  q: Float[Array, "B T H D"],
  past: tuple[Float[Array, "BK S D"], Float[Array, "BK S D"]],
  recent: tuple[Float[Array, "BK R D"], Float[Array, "BK R D"]],
  past_visible: Bool[Array, "B S"],
  recent_visible: Bool[Array, "T R"],
) -> Float[Array, "B T H D"]:
  """Attention over a long read-only cache and a short recent one, as over their concatenation.

  Keeping the two apart lets a decoding loop write into the short one only: the long
  cache is never copied or scattered into while tokens are sampled. A long piece is read
  some queries at a time.
  """
  batch, length, heads, dim = q.shape
  seen = past[0].shape[1] + recent[0].shape[1]
  size = 1 << (max(_SCORES // (batch * heads * seen), 8).bit_length() - 1)
  if length <= size:
    return _cached_block(q, past, recent, past_visible, recent_visible)
  count = -(-length // size)
  more = count * size - length
  q = jnp.pad(q, ((0, 0), (0, more), (0, 0), (0, 0))).reshape(batch, count, size, heads, dim)
  visible = jnp.pad(recent_visible, ((0, more), (0, 0))).reshape(count, size, -1)
  out = jax.lax.map(
    lambda block: _cached_block(block[0], past, recent, past_visible, block[1]),
    (q.swapaxes(0, 1), visible),
  )
  return out.swapaxes(0, 1).reshape(batch, -1, heads, dim)[:, :length]


def _cached_block(q, past, recent, past_visible, recent_visible):
  batch, length, heads, dim = q.shape
  kv_heads = past[0].shape[0] // batch
  groups = heads // kv_heads
  q = (q * dim**-0.5).reshape(batch, length, kv_heads, groups, dim)
  q = q.transpose(0, 2, 3, 1, 4).reshape(batch * kv_heads, groups * length, dim)
  past_scores = products.scores(q, past[0]).reshape(batch, kv_heads * groups * length, -1)
  past_scores = jnp.where(past_visible[:, None, :], past_scores, products.NEGATIVE)
  past_scores = past_scores.reshape(batch * kv_heads, groups * length, -1)
  visible = jnp.tile(recent_visible, (groups, 1))[None]
  if hardware.current().merges:
    q = jax.lax.optimization_barrier(q)
  recent_scores = jnp.where(visible, products.scores(q, recent[0]), products.NEGATIVE)
  top = jnp.maximum(past_scores.max(-1, keepdims=True), recent_scores.max(-1, keepdims=True))
  past_weights, recent_weights = jnp.exp(past_scores - top), jnp.exp(recent_scores - top)
  total = past_weights.sum(-1, keepdims=True) + recent_weights.sum(-1, keepdims=True)
  out = (products.mix(past_weights, past[1]) + products.mix(recent_weights, recent[1])) / total
  out = out.reshape(batch, kv_heads, groups, length, dim).transpose(0, 3, 1, 2, 4)
  return out.reshape(batch, length, heads, dim)
