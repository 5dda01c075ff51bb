"""Where parameters and cache lie while decoding: as in training, but no axis gathers a layer."""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from empg_jax import sharding
from empg_jax.generation.decode import Cache
from empg_jax.models import casting
from empg_jax.models.decoder import Decoder


def for_decoding(mesh: Mesh, model: Decoder, dtype: jnp.dtype) -> jax.stages.Wrapped:
  """A program that turns parameters in training's layout into those to decode with.

  Args:
    mesh: on which both lie; decoding divides parameters over `tensor` alone.
    model: or its shapes.
    dtype: of the matrices.
  """
  places = sharding.shardings(model, mesh, (sharding.TENSOR,))
  return jax.jit(functools.partial(casting.cast, dtype=dtype), out_shardings=places)


def cache_shardings(cache: Cache, mesh: Mesh) -> Cache:
  """Slots over data and fsdp, heads over tensor.

  Args:
    cache: of scanned layers, or its shapes.
    mesh: on which the model lies.
  """
  spec = PartitionSpec(None, sharding.ROWS, sharding.TENSOR)
  return jax.tree.map(lambda _: NamedSharding(mesh, spec), cache)
