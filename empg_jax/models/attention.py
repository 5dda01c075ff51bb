"""Causal attention with grouped key/value heads: for training rows and for cached decoding."""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float

from empg_jax import sharding

NEGATIVE = -1e30
BLOCK = 128
_SCORES = 2**26  # that cached_attention holds at a time, as it reads a long piece


def causal_attention(
    q: Float[Array, "B T H D"],
    k: Float[Array, "B T K D"],
    v: Float[Array, "B T K D"],
    compute_dtype: jax.typing.DTypeLike,
) -> Float[Array, "B T H D"]:
  """Softmax attention of each token over the tokens up to itself, without [T, T] scores.

  By the splash kernel on TPU, in blocks elsewhere. Rows and heads stay where they are:
  the key/value heads are divided over the mesh's axis `tensor`.
  """
  q, k, v = (x.astype(compute_dtype) for x in (q * q.shape[-1] ** -0.5, k, v))
  if sharding.platform() != "tpu":
    return _by_blocks(q, k, v)
  from empg_jax.kernels import attention  # here, for Pallas is slow to import

  sharding.check_heads(k.shape[2])
  spec = PartitionSpec(sharding.ROWS, None, sharding.TENSOR)
  return sharding.on_shards(attention.causal, (spec,) * 3, spec)(q, k, v)


def _by_blocks(
    q: Float[Array, "B T H D"], k: Float[Array, "B T K D"], v: Float[Array, "B T K D"]
) -> Float[Array, "B T H D"]:
  """Works in blocks of queries over their key prefix; the half above the diagonal is never computed."""
  batch, length, heads, dim = q.shape
  kv_heads = k.shape[2]
  q = q.reshape(batch, length, kv_heads, heads // kv_heads, dim).transpose(0, 2, 3, 1, 4)
  q = q.reshape(batch * kv_heads, heads // kv_heads, length, dim)
  k, v = flat_heads(k), flat_heads(v)
  blocks = []
  for start in range(0, length, BLOCK):
    stop = min(start + BLOCK, length)
    ahead = jnp.arange(stop)[None, :] > jnp.arange(start, stop)[:, None]
    blocks.append(_attend_block(q[:, :, start:stop], k[:, :stop], v[:, :stop], ahead))
  out = jnp.concatenate(blocks, axis=2).reshape(batch, kv_heads, -1, length, dim)
  return out.transpose(0, 3, 1, 2, 4).reshape(batch, length, heads, dim)


@jax.checkpoint  # the scores are cheaper to compute again than to keep
def _attend_block(
    q: Float[Array, "N G Q D"],
    k: Float[Array, "N S D"],
    v: Float[Array, "N S D"],
    ahead: Bool[Array, "Q S"],
) -> Float[Array, "N G Q D"]:
  scores = _scores(q.reshape(q.shape[0], -1, q.shape[-1]), k).reshape(*q.shape[:3], -1)
  scores = jnp.where(ahead[None, None], NEGATIVE, scores)
  weights = jax.nn.softmax(scores, axis=-1)
  return _mix(weights.reshape(q.shape[0], -1, k.shape[1]), v).reshape(q.shape)


def flat_heads(x: Float[Array, "B T K D"]) -> Float[Array, "BK T D"]:
  """The cache's layout: one matrix a row and head (on CPU 7x faster to attend to than [B, T, K, D])."""
  batch, length, heads, dim = x.shape
  return x.swapaxes(1, 2).reshape(batch * heads, length, dim)


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
  past_scores = _scores(q, past[0]).reshape(batch, kv_heads * groups * length, -1)
  past_scores = jnp.where(past_visible[:, None, :], past_scores, NEGATIVE)
  past_scores = past_scores.reshape(batch * kv_heads, groups * length, -1)
  visible = jnp.tile(recent_visible, (groups, 1))[None]
  recent_scores = jnp.where(visible, _scores(q, recent[0]), NEGATIVE)
  top = jnp.maximum(past_scores.max(-1, keepdims=True), recent_scores.max(-1, keepdims=True))
  past_weights, recent_weights = jnp.exp(past_scores - top), jnp.exp(recent_scores - top)
  total = past_weights.sum(-1, keepdims=True) + recent_weights.sum(-1, keepdims=True)
  out = (_mix(past_weights, past[1]) + _mix(recent_weights, recent[1])) / total
  out = out.reshape(batch, kv_heads, groups, length, dim).transpose(0, 3, 1, 2, 4)
  return out.reshape(batch, length, heads, dim)


@jax.custom_vjp
def _scores(q: Float[Array, "N Q D"], keys: Float[Array, "N S D"]) -> Float[Array, "N Q S"]:
  return _product("nqd,nsd->nqs", q, keys)


@jax.custom_vjp
def _mix(weights: Float[Array, "N Q S"], values: Float[Array, "N S D"]) -> Float[Array, "N Q D"]:
  return _product("nqs,nsd->nqd", weights, values)


def _product(equation: str, a: Array, b: Array) -> Array:
  """Operands in the type of `b`, sums in float32; backward too: see linear.py."""
  return jnp.einsum(equation, a.astype(b.dtype), b, preferred_element_type=jnp.float32)


def _scores_backward(residuals, g):
  q, keys = residuals
  dq = _product("nqs,nsd->nqd", g, keys)
  dk = _product("nqs,nqd->nsd", g, q.astype(keys.dtype))
  return dq.astype(q.dtype), dk.astype(keys.dtype)


def _mix_backward(residuals, g):
  weights, values = residuals
  dw = _product("nqd,nsd->nqs", g, values)
  dv = _product("nqs,nqd->nsd", weights, g.astype(values.dtype))
  return dw.astype(weights.dtype), dv.astype(values.dtype)


_scores.defvjp(lambda q, keys: (_scores(q, keys), (q, keys)), _scores_backward)
_mix.defvjp(lambda weights, values: (_mix(weights, values), (weights, values)), _mix_backward)
