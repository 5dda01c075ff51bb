"""Causal attention with grouped key/value heads: for training rows and for cached decoding."""

from collections.abc import Callable, Sequence
import functools
import importlib

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from empg_jax.distributed import sharding
from empg_jax.kernels import hardware
from empg_jax.kernels.attention import products

KV = tuple[Float[Array, "BK S D"], Float[Array, "BK S D"]]
_SCORES = 2**26  # scores that cached_attention holds at a time when it reads a long piece


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
  recent: KV,
  recent_visible: Bool[Array, "T R"],
  spans: Sequence[tuple[int, Callable[[], KV]]],
  lengths: Int[Array, "B"],
  count: int | Int[Array, ""],
) -> Float[Array, "B T H D"]:
  """Attention over a long read-only cache and a short recent one, as over their concatenation.

  With two caches a decoding loop writes only into the short one: the long cache is never copied
  or scattered into while tokens are sampled. The long cache comes in spans of columns, whose sums
  are combined one after another. A span that a row does not see leaves the row's result unchanged
  bit for bit, so the result does not depend on `count`. A long piece is read in blocks of queries.

  Args:
    q: queries.
    recent: keys and values [BK, R, D]; each query sees at least one of them.
    recent_visible: which of them each query sees.
    spans: for each its first column, and a function that returns its keys and values [BK, S, D].
    lengths: the number of columns of the long cache that each row sees.
    count: the number of spans that they take; later ones are skipped.
  """
  batch, length, heads, dim = q.shape
  shapes = [jax.eval_shape(fetch)[0].shape[1] for _, fetch in spans]
  seen = max(shapes, default=0) + recent[0].shape[1]
  size = 1 << (max(_SCORES // (batch * heads * seen), 8).bit_length() - 1)
  attend = functools.partial(
    _cached_block, recent=recent, spans=spans, lengths=lengths, count=count
  )
  if length <= size:
    return attend(q, visible=recent_visible)
  blocks = -(-length // size)
  more = blocks * size - length
  q = jnp.pad(q, ((0, 0), (0, more), (0, 0), (0, 0))).reshape(batch, blocks, size, heads, dim)
  visible = jnp.pad(recent_visible, ((0, more), (0, 0))).reshape(blocks, size, -1)
  out = jax.lax.map(lambda x: attend(x[0], visible=x[1]), (q.swapaxes(0, 1), visible))
  return out.swapaxes(0, 1).reshape(batch, -1, heads, dim)[:, :length]


def _cached_block(q, recent, visible, spans, lengths, count):
  batch, length, heads, dim = q.shape
  kv_heads = recent[0].shape[0] // batch
  groups = heads // kv_heads
  q = (q * dim**-0.5).reshape(batch, length, kv_heads, groups, dim)
  q = q.transpose(0, 2, 3, 1, 4).reshape(batch * kv_heads, groups * length, dim)
  sums = _weigh(q, recent, jnp.tile(visible, (groups, 1))[None])

  def join(sums, q, start, fetch):
    kv = fetch()
    seen = start + jnp.arange(kv[0].shape[1])[None, :] < jnp.repeat(lengths, kv_heads)[:, None]
    return _joined(sums, _weigh(q, kv, seen[:, None, :]))

  for i, (start, fetch) in enumerate(spans):
    if hardware.current().merges:  # of the queries, which all of these products have in common
      q = jax.lax.optimization_barrier(q)
    if not isinstance(count, int):
      add = functools.partial(join, q=q, start=start, fetch=fetch)
      sums = jax.lax.cond(i < count, add, lambda sums: sums, sums)
    elif i < count:
      sums = join(sums, q, start, fetch)
  _, total, out = sums
  out = (out / total).reshape(batch, kv_heads, groups, length, dim).transpose(0, 3, 1, 2, 4)
  return out.reshape(batch, length, heads, dim)


def _weigh(q, kv, visible):
  """Of some columns: the largest score, and relative to it the sums of weights and of values."""
  scores = jnp.where(visible, products.scores(q, kv[0]), products.NEGATIVE)
  top = scores.max(-1, keepdims=True)
  weights = jnp.exp(scores - top)
  return top, weights.sum(-1, keepdims=True), products.mix(weights, kv[1])


def _joined(one, other):
  """Combines two results of `_weigh`; equals the first where the other sees nothing."""
  top = jnp.maximum(one[0], other[0])
  mine, theirs = jnp.exp(one[0] - top), jnp.exp(other[0] - top)
  return top, one[1] * mine + other[1] * theirs, one[2] * mine + other[2] * theirs
