"""Embedding lookup in a table sharded over the mesh, without gathering the table."""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Int

from empg_jax.distributed import sharding


def lookup(table: Float[Array, "V D"], tokens: Int[Array, "B T"]) -> Float[Array, "B T D"]:
  """table[tokens], float32.

  On a mesh the table is sharded as in `sharding.PARAMETERS`, V over `tensor` and D over `fsdp`.
  XLA alone would sum the gradient as a whole table on every device. Here each device looks up
  its columns for the rows of all its `fsdp` neighbours and receives the other columns of its
  own rows; over `tensor` a reduce-scatter shards the result over time, as the first layer
  expects it.
  """
  if not sharding.fits(table, *_TABLE) or not sharding.fits(tokens, *_BY_TIME):
    return table[tokens].astype(jnp.float32)
  given, out = (PartitionSpec(*_TABLE), PartitionSpec(sharding.ROWS)), PartitionSpec(*_BY_TIME)
  return sharding.on_shards(_on_shard, given, out)(table, tokens)


_TABLE = (sharding.TENSOR, sharding.FSDP)
_BY_TIME = (sharding.ROWS, sharding.TENSOR)


def _on_shard(table, tokens):
  tokens = jax.lax.all_gather(tokens, sharding.FSDP, axis=0, tiled=True)
  tokens -= table.shape[0] * jax.lax.axis_index(sharding.TENSOR)
  here = (tokens >= 0) & (tokens < table.shape[0])
  x = table[jnp.where(here, tokens, 0)].astype(jnp.float32) * here[:, :, None]
  x = jax.lax.psum_scatter(x, sharding.TENSOR, scatter_dimension=1, tiled=True)
  return jax.lax.all_to_all(x, sharding.FSDP, split_axis=0, concat_axis=2, tiled=True)
