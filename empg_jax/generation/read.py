"""Reading pieces: the keys and values of the slots that have one, appended to their rows."""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Int

from empg_jax.distributed import sharding
from empg_jax.generation import cache as caching, layers
from empg_jax.generation.cache import Cache
from empg_jax.models.decoder import Decoder

_EACH = PartitionSpec(sharding.ROWS)


@functools.partial(
  jax.jit, donate_argnames=("cache",), static_argnames=("rows", "windows", "spans")
)
def read(
  model: Decoder,
  cache: Cache,
  pieces: Int[Array, "B C"],
  counts: Int[Array, "B"],
  lengths: Int[Array, "B"],
  like: Int[Array, "B"],
  passes: Int[Array, ""],
  seen: Int[Array, ""],
  *,
  rows: int,
  windows: tuple[int, ...],
  spans: int | None,
) -> tuple[Cache, Int[Array, "B"]]:
  """Appends pieces to the slots that have one, on each device `rows` of them at a time.

  What is read of a row depends on that row alone: not on the others, nor on its place.

  Args:
    model: matrices already in the type to compute with.
    cache: donated.
    pieces: ids, padded on the right. The columns of padding are written, and never seen.
    counts: how many ids each slot reads, 0 for most.
    lengths: columns that each slot has filled.
    like: the slot, on the same device, that reads the same after the same; mostly the slot itself.
      Only that one is computed, and its keys and values are copied.
    passes: how often `rows` slots are read on every device.
    seen: how many spans of columns hold all that these slots have filled.
    rows: of a device's slots at a time.
    windows: where the spans end.
    spans: their number if it is part of the program; None: it follows `seen`.

  Returns:
    The cache, and the columns that each slot has filled by now.
  """
  divide = lambda x: sharding.divide(x, sharding.ROWS)
  pieces, counts, lengths, like = map(divide, (pieces, counts, lengths, like))
  order = sharding.on_shards(_those_that_read_first, (_EACH, _EACH), _EACH)(counts, like)
  causal = jnp.tril(jnp.ones((pieces.shape[1],) * 2, bool))
  dtype = model.unembedding.dtype
  count = seen if spans is None else spans

  def one_pass(number, read):
    next_rows = lambda order, number: jax.lax.dynamic_slice(order, (number * rows,), (rows,))
    own = sharding.on_shards(next_rows, (_EACH, PartitionSpec()), _EACH)(order, number)
    ids, start = _of_rows(pieces, own), _of_rows(lengths, own)

    def attend(past, q, k, v):
      new = tuple(layers.heads(x, dtype) for x in (k, v))
      return layers.attend(q, new, causal, past, start, count, windows, own), new

    positions = start[:, None] + jnp.arange(ids.shape[1])[None]
    _, new = layers.run(model, model.embed(ids), positions, cache, attend)
    return jax.tree.map(lambda x, new: _to_rows(x, new, own), read, new)

  read = jax.lax.fori_loop(0, passes, one_pass, caching.buffers(cache, pieces.shape[1]))
  read = jax.tree.map(lambda x: _copied(x, like), read)
  return caching.append(cache, read, lengths, counts, windows), lengths + counts


def _of_rows(x: Array, own: Int[Array, "N"]) -> Array:
  """The rows of each device's slots that are its own turn's."""
  return sharding.on_shards(lambda x, own: x[own], (_EACH, _EACH), _EACH)(x, own)


def _to_rows(x: Array, new: Array, own: Int[Array, "N"]) -> Array:
  """x [..., B, K, C, D] with `new` in these rows."""
  stacked = x.ndim - 4
  at = (slice(None),) * stacked
  put = lambda x, new, own: x.at[(*at, own)].set(new)
  spec = caching.spec(x.ndim)
  return sharding.on_shards(put, (spec, spec, _EACH), spec)(x, new, own)


def _copied(x: Array, like: Int[Array, "B"]) -> Array:
  """x [..., B, K, C, D] with the rows of others in place of those that were not computed."""
  spec = caching.spec(x.ndim)
  return sharding.on_shards(
    lambda x, like: jnp.take(x, like, axis=x.ndim - 4), (spec, _EACH), spec
  )(x, like)


def _those_that_read_first(counts: Int[Array, "B"], like: Int[Array, "B"]) -> Int[Array, "B"]:
  """A device's slots in the order in which they take their turns; those that take none last."""
  return jnp.argsort((counts == 0) | (like != jnp.arange(like.shape[0])), stable=True)
