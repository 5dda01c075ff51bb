"""Gradients over a batch too large to hold at once."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def split(batch: Any, size: int) -> Any:
  """[B, ...] -> [B // size, size, ...]; neighbours go to different microbatches."""

  def rows(x):
    count = x.shape[0] // size
    return jnp.moveaxis(x.reshape(size, count, *x.shape[1:]), 1, 0)

  return jax.tree.map(rows, batch)


def join(pieces: Any) -> Any:
  """The inverse of `split`: [N, size, ...] -> [N * size, ...]."""
  rows = lambda x: jnp.moveaxis(x, 0, 1).reshape(-1, *x.shape[2:])
  return jax.tree.map(rows, pieces)


def check(rows: int, size: int) -> None:
  """Raises ValueError unless `size` divides `rows`."""
  if size < 1 or rows % size:
    raise ValueError(
        f"A batch of {rows} rows does not divide into microbatches of {size}: choose"
        " update.microbatch among the divisors of the batch's rows."
    )


def sum_gradients(
    loss: Callable[[Any, Any], tuple[jax.Array, Any]], model: Any, batch: Any, size: int
) -> tuple[Any, Any]:
  """Sums gradient and metrics of `loss(model, rows) -> (scalar, metrics)` over microbatches.

  Args:
    loss: whose sum over microbatches is the batch's loss (its weights are made from the
      whole batch).
    model: differentiated.
    batch: pytree of [B, ...] arrays.
    size: rows in a microbatch; divides B.

  Returns:
    Metrics and gradient, summed. Only one microbatch's activations exist at a time.
  """
  rows = jax.tree.leaves(batch)[0].shape[0]
  check(rows, size)
  gradient = jax.grad(loss, has_aux=True)
  if size == rows:
    total, metrics = gradient(model, batch)
    return metrics, total

  def add(carry, rows):
    total, metrics = gradient(model, rows)
    return jax.tree.map(jnp.add, carry, (total, metrics)), None

  pieces = split(batch, size)
  first = jax.tree.map(lambda x: x[0], pieces)
  zeros = jax.tree.map(
      lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(gradient, model, first)
  )
  (total, metrics), _ = jax.lax.scan(add, zeros, pieces)
  return metrics, total
