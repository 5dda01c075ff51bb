"""Loads a checkpoint's tensors onto devices, with one tensor on the host at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array
import numpy as np

from empg_jax.models import nonfinite
from empg_jax.models.source import Source
from empg_jax.models.tensor_names import STACKED, leaf_name, of_layer

_Read = Callable[[str, tuple[slice, ...], np.dtype], np.ndarray]


def place(source: Source, model: Any) -> tuple[Any, dict[str, int]]:
  """Reads the parameters of a model; each process reads the slices of its devices.

  Returns the parameters, and the number of NaN or infinite weights among those that this
  process read, by tensor.

  Args:
    source: has every tensor of the model, in its shape.
    model: a Decoder of `jax.ShapeDtypeStruct`s with NamedShardings that do not shard the
      layer axis.
  """
  bad: dict[str, int] = {}

  def read(name, index, dtype):
    values = source.read(name, index, dtype)
    if found := nonfinite.count_nonfinite(values):
      bad[name] = bad.get(name, 0) + found
    return values

  def leaf(path, x):
    name = leaf_name(path)
    make = _stack if name.startswith(STACKED) else _array
    return make(read, name, x.shape, x.sharding, x.dtype)

  return jax.tree_util.tree_map_with_path(leaf, model), bad


def _array(read: _Read, name: str, shape, sharding: NamedSharding, dtype) -> Array:
  pieces = {}  # several devices of a process may hold the same one

  def piece(index):
    key = str(index)
    if key not in pieces:
      pieces[key] = read(name, index, dtype)
    return pieces[key]

  return jax.make_array_from_callback(shape, sharding, piece)


def _stack(read: _Read, name: str, shape, sharding: NamedSharding, dtype) -> Array:
  """[L, ...], filled in place layer by layer."""
  of_one = NamedSharding(sharding.mesh, PartitionSpec(*sharding.spec[1:]))
  stack = jax.jit(jnp.zeros, static_argnums=(0, 1), out_shardings=sharding)(shape, dtype)
  put = jax.jit(_put, donate_argnums=0, out_shardings=sharding)
  for i in range(shape[0]):
    layer = _array(read, of_layer(name, i), shape[1:], of_one, dtype)
    # Wait, so that layers do not pile up on the host.
    stack = jax.block_until_ready(put(stack, layer, i))
  return stack


def _put(stack, layer, index):
  return jax.lax.dynamic_update_index_in_dim(stack, layer, index, 0)
