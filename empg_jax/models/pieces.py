"""A long row's tokens some at a time, where each is treated alone."""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float

from empg_jax.distributed import sharding

TOKENS = 8192  # at a time


def by_pieces(
  f: Callable[[jax.Array], jax.Array], x: Float[Array, "B T D"]
) -> Float[Array, "B T D"]:
  """f(x), for an f that treats every token by itself.

  A row of several times TOKENS goes through f a piece at a time, and again in the backward
  pass, so that what f holds does not grow with the row. A piece has a share of the tokens of
  each device that time is divided over, and nothing moves between them to make it.
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
