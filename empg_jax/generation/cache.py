"""The keys and values of conversations: where they lie, and how they are added to.

Each slot's row is filled from column 0. Attention sums over spans of columns, one after the other
(`spans`). Where they lie apart, a cache is for each layer and each span a pair of arrays
[B, K, columns, D], which products read as they are. Where the layers are scanned, it is one pair
for all, [L, B, K, S, D], and a layer's products read a span in place (see `hardware`).
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Int

from empg_jax.distributed import sharding
from empg_jax.kernels import hardware
from empg_jax.models.decoder import DecoderConfig

KV = tuple[Float[Array, "*layers B K _ D"], Float[Array, "*layers B K _ D"]]
Cache = KV | tuple[tuple[KV, ...], ...]


def empty(
  config: DecoderConfig, slots: int, windows: Sequence[int], spare: int, dtype: jnp.dtype
) -> Cache:
  """A cache of zeros.

  Args:
    config: of the model.
    slots: rows.
    windows: where the spans end, ascending; the last one is all that a row may hold.
    spare: columns after it, for the most that is written at once.
    dtype: of keys and values.
  """
  layers, heads = config.num_hidden_layers, config.num_key_value_heads
  pair = lambda shape: (jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))
  if scanned():
    return pair((layers, slots, heads, windows[-1] + spare, config.head_dim))
  return tuple(
    tuple(pair((slots, heads, stop - start, config.head_dim)) for start, stop in spans(windows))
    for _ in range(layers)
  )


def sizes(policy: Any, here: hardware.Platform) -> dict[str, Any]:
  """Arguments of `empty` by the settings of a policy (config.policy), on some hardware."""
  windows = tuple(sorted({min(w, policy.max_length) for w in (*policy.windows, policy.max_length)}))
  spare = max(min(here.tokens, policy.max_reply), *policy.piece_lengths)
  return dict(slots=policy.slots, windows=windows, spare=spare)


def scanned() -> bool:
  """Whether the layers are scanned while decoding, and their caches stacked."""
  return hardware.current().decode_layers == "scanned"


def spans(windows: Sequence[int]) -> list[tuple[int, int]]:
  """The ranges of columns that end at these."""
  return list(zip((0, *windows), windows))


def spec(ndim: int) -> PartitionSpec:
  """Slots over data and fsdp, heads over tensor; of an array [B, K, S, D] or stacked ones."""
  return PartitionSpec(*[None] * (ndim - 4), sharding.ROWS, sharding.TENSOR)


def of_span(layer: Any, index: int, windows: Sequence[int]) -> KV:
  """The keys and values [B, K, columns, D] of a span, of one layer's cache."""
  if isinstance(layer[0], tuple):
    return layer[index]
  start, stop = spans(windows)[index]
  return tuple(x[:, :, start:stop] for x in layer)


def buffers(cache: Cache, columns: int) -> Any:
  """Zeros for new columns of every row: a pair for every layer, or one stacked pair."""
  room = lambda x: jnp.zeros((*x.shape[:-2], columns, x.shape[-1]), x.dtype)
  return jax.tree.map(room, cache if scanned() else tuple(layer[0] for layer in cache))


def put(buffers: Any, column: Any, index: Int[Array, ""]) -> Any:
  """Writes one column into every array, at the same place in all rows."""
  write = lambda x, new: jax.lax.dynamic_update_slice_in_dim(x, new, index, axis=x.ndim - 2)
  return jax.tree.map(write, buffers, column)


def append(
  cache: Cache,
  new: Any,
  start: Int[Array, "B"],
  counts: Int[Array, "B"],
  windows: Sequence[int],
) -> Cache:
  """The cache with columns added to every row.

  Args:
    cache: to be donated.
    new: for every layer a pair [B, K, N, D]; or one stacked pair, if the cache is.
    start: the column from which each row gets its own.
    counts: how many it gets; the rest of `new` is padding, which may be written and is never seen.
    windows: where the spans end.
  """
  each = PartitionSpec(sharding.ROWS)
  if scanned():
    cached = spec(5)
    write = sharding.on_shards(_write_stacked, (cached, cached, each), cached)
    return jax.tree.map(lambda x, more: write(x, more, start), cache, new)

  def add(x, more, first):
    write = lambda *given: _select(*given, first)
    return sharding.on_shards(write, (spec(4), spec(4), each, each), spec(4))(
      x, more, start, counts
    )

  return tuple(
    tuple(
      tuple(add(x, more, first) for x, more in zip(kv, pair))
      for kv, (first, _) in zip(layer, spans(windows))
    )
    for layer, pair in zip(cache, new)
  )


def _select(x: Array, new: Array, start: Int[Array, "B"], counts: Int[Array, "B"], first: int):
  """The columns of a span, which begins with column `first`, or those that are new.

  One pass over the span: on CPU an update of slices of a bfloat16 array turns all of it into
  float32 and back.
  """
  place = first + jnp.arange(x.shape[2])[None] - start[:, None]
  there = (place >= 0) & (place < counts[:, None])
  index = jnp.clip(place, 0, new.shape[2] - 1)[:, None, :, None]
  return jnp.where(there[:, None, :, None], jnp.take_along_axis(new, index, axis=2), x)


def _write_stacked(x: Array, new: Array, start: Int[Array, "B"]) -> Array:
  """One row after another, for a batched update would turn the whole cache around twice.

  A row's columns come with the loop: where the loop cuts them out of `new` itself, XLA fails
  to compile for TPUs at full effort.
  """

  def put_row(x, row):
    index, columns, at = row
    return jax.lax.dynamic_update_slice(x, columns[:, None], (0, index, 0, at, 0)), None

  each = (jnp.arange(x.shape[1]), new.swapaxes(0, 1), start)
  return jax.lax.scan(put_row, x, each)[0]
