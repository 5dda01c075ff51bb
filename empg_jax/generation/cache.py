"""The keys and values of conversations: where they lie, and how turns add to them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Int

from empg_jax.distributed import sharding
from empg_jax.kernels import hardware
from empg_jax.models.decoder import DecoderConfig

KV = tuple[Float[Array, "*layers B K _ D"], Float[Array, "*layers B K _ D"]]


class Cache(NamedTuple):
  """Keys and values: a pair a layer, each [B, K, S, D].

  Where the layers are scanned, one pair for all, each [L, B, K, S, D]. On CPU, 16-bit
  floats are kept as their bits (see `hardware`).

  `past` holds what the slots have read and written in earlier turns, each row from
  its own column 0. `recent` holds the reply being written: all slots write the same
  column, so a token costs one small update and no scatter. The next turn moves it
  into `past`.
  """

  past: KV | tuple[KV, ...]
  recent: KV | tuple[KV, ...]


def empty(
  config: DecoderConfig, slots: int, capacity: int, max_reply: int, dtype: jnp.dtype
) -> Cache:
  """A cache of zeros: `capacity` columns of past and `max_reply` of recent for each slot."""
  layers, heads = config.num_hidden_layers, config.num_key_value_heads
  as_bits = jnp.dtype(dtype).itemsize == 2 and not hardware.current().float_cache
  dtype = jnp.dtype(jnp.uint16 if as_bits else dtype)

  def pairs(length):
    shape = (slots, heads, length, config.head_dim)
    if scanned():
      zeros = lambda: jnp.zeros((layers, *shape), dtype)
      return zeros(), zeros()
    return tuple((jnp.zeros(shape, dtype), jnp.zeros(shape, dtype)) for _ in range(layers))

  return Cache(pairs(capacity), pairs(max_reply))


def scanned() -> bool:
  """Whether the layers of a turn are scanned, and their caches stacked."""
  return hardware.current().decode_layers == "scanned"


def spec(ndim: int) -> PartitionSpec:
  """Slots over data and fsdp, heads over tensor; of an array [B, K, S, D] or stacked ones."""
  return PartitionSpec(*[None] * (ndim - 4), sharding.ROWS, sharding.TENSOR)


def values(dtype: jnp.dtype, kv: Any) -> Any:
  """Caches or columns in `dtype`, bit by bit where it is not theirs."""
  same = lambda x: x if x.dtype == dtype else jax.lax.bitcast_convert_type(x, dtype)
  return jax.tree.map(same, kv)


def columns(cache: Cache, window: int) -> int:
  """How many columns of `past` a turn looks at: `window`, or all where that spares a copy.

  Where a turn cuts its window out, the cut is a copy. One of more than half of the cache
  would take more memory than time.
  """
  capacity = jax.tree.leaves(cache.past)[0].shape[-2]
  return capacity if hardware.current().cuts_once and 2 * window > capacity else window


def first(caches: Any, window: int) -> Any:
  """The first columns of every cache."""
  return jax.tree.map(lambda x: x[..., :window, :], caches)


def put(caches: Any, column: Any, index: Int[Array, ""]) -> Any:
  """Writes one column into every cache, at the same place in all rows."""

  def write(x, new):
    new = values(x.dtype, new)
    return jax.lax.dynamic_update_slice_in_dim(x, new, index, axis=x.ndim - 2)

  return jax.tree.map(write, caches, column)


def append(kv: Any, new: Any, start: Int[Array, "B"]) -> Any:
  """Writes `new` into each slot's row of every cache in `kv` from its own column `start`."""

  def write(rows, x):
    f = _write_stacked if rows.ndim == 5 else _write_rows
    cached = spec(rows.ndim)
    given = (cached, cached, PartitionSpec(sharding.ROWS))
    return sharding.on_shards(f, given, cached)(rows, values(rows.dtype, x), start)

  return jax.tree.map(write, kv, new)


def _write_rows(rows: Array, x: Array, start: Int[Array, "B"]) -> Array:
  put = lambda row, x, at: jax.lax.dynamic_update_slice_in_dim(row, x, at, axis=1)
  return jax.vmap(put)(rows, x, start)


def _write_stacked(rows: Array, x: Array, start: Int[Array, "B"]) -> Array:
  """One row after another, for a batched update would turn the whole cache around twice.

  A row's columns come with the loop: where the loop cuts them out of `x` itself, XLA fails
  to compile for TPUs at full effort.
  """

  def put(rows, row):
    index, new, at = row
    return jax.lax.dynamic_update_slice(rows, new[:, None], (0, index, 0, at, 0)), None

  each = (jnp.arange(rows.shape[1]), x.swapaxes(0, 1), start)
  return jax.lax.scan(put, rows, each)[0]
