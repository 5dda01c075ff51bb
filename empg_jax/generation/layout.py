"""Where parameters and cache lie while decoding: as in training, but no axis gathers a layer."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding

from empg_jax.distributed import sharding
from empg_jax.generation import cache
from empg_jax.kernels import hardware
from empg_jax.models import casting
from empg_jax.models.decoder import Decoder, apart


def prepare(model: Decoder, dtype: jax.typing.DTypeLike, layers: str) -> Decoder:
  """Parameters as `read` and `write` take them: matrices in `dtype`, layers as hardware likes them.

  Args:
    model: as it is trained.
    dtype: of the matrices.
    layers: `hardware.Platform.decode_layers`.
  """
  model = casting.cast(model, dtype)
  return apart(model) if layers == "apart" else model


def for_decoding(mesh: Mesh, model: Decoder, dtype: jnp.dtype) -> jax.stages.Wrapped:
  """A program that turns parameters in training's layout into those to decode with.

  Args:
    mesh: on which both lie; decoding divides parameters over `tensor` alone.
    model: or its shapes.
    dtype: of the matrices.
  """
  layers = hardware.of(mesh).decode_layers
  make = functools.partial(prepare, dtype=dtype, layers=layers)
  places = sharding.shardings(jax.eval_shape(make, model), mesh, (sharding.TENSOR,))
  return jax.jit(make, out_shardings=places)


def cache_shardings(empty: Any, mesh: Mesh) -> Any:
  """Slots over data and fsdp, heads over tensor.

  Args:
    empty: a cache, or its shapes.
    mesh: on which the model lies.
  """
  return jax.tree.map(lambda x: NamedSharding(mesh, cache.spec(x.ndim)), empty)
