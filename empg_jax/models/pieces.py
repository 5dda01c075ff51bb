"""Applies token-wise functions to long rows piece by piece."""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float

from empg_jax.distributed import sharding

TOKENS = 8192  # at a time


def by_pieces(
  f: Callable[[jax.Array], jax.Array], x: Float[Array, "B T D"]
) -> Float[Array, "B T D"]:
  """f(x), for an f that treats every token independently.

  Rows longer than TOKENS go through f one piece at a time, recomputed in the backward pass,
  so that f's memory does not grow with the row. A piece holds a share of each device's tokens
  where time is sharded, so forming it moves nothing between devices.
  """
  mesh = jax.sharding.get_abstract_mesh()
  devices = mesh.shape.get(sharding.TENSOR, 1)
  rows, length, width = x.shape
  count = length // TOKENS
  if count < 2 or length % (count * devices):
    return f(x)
  cut = x.reshape(rows, devices, count, -1, width).transpose(2, 0, 1, 3, 4)
  cut = cut.reshape(count, rows, -1, width)
  cut = sharding.divide(cut, None, sharding.ROWS, sharding.TENSOR)
  done = jax.lax.map(jax.checkpoint(f), cut)
  done = done.reshape(count, rows, devices, -1, width).transpose(1, 2, 0, 3, 4)
  return done.reshape(x.shape)
