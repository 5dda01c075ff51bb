"""Gradients over a batch too large to hold at once."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool


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
        " train.size among the divisors of the batch's rows."
    )


def sum_gradients(
    loss: Callable[[Any, Any], tuple[jax.Array, Any]],
    model: Any,
    batch: Any,
    used: Bool[Array, "B T"],
    *,
    size: int,
    lengths: Sequence[int] = (),
) -> tuple[Any, Any]:
  """Sums gradient and metrics of `loss(model, rows) -> (scalar, metrics)` over microbatches.

  Each microbatch is cut to the shortest of `lengths` (or T) that holds its last used
  token. With rows of like length together (rollout.pack.deal), little padding is computed.

  Args:
    loss: whose sum over microbatches is the batch's loss (its weights are made from the
      whole batch).
    model: differentiated.
    batch: pytree of [B, ...] arrays; the second axis, if there is one, is time.
    used: the tokens that count in the loss.
    size: rows in a microbatch; divides B.
    lengths: what a microbatch may be cut to.

  Returns:
    Metrics and gradient, summed. Only one microbatch's activations exist at a time.
  """
  rows, longest = used.shape
  check(rows, size)
  cuts = (*sorted(n for n in lengths if n < longest), longest)
  gradient = jax.grad(loss, has_aux=True)
  ends = jnp.max(jnp.where(used, jnp.arange(1, longest + 1)[None, :], 0), axis=1)

  def at_length(length):
    cut = lambda x: x[:, :length] if x.ndim > 1 else x
    return lambda piece: gradient(model, jax.tree.map(cut, piece))

  branches = [at_length(length) for length in cuts]

  def add(carry, piece):
    piece, ends = piece
    which = jnp.searchsorted(jnp.array(cuts), jnp.max(ends))
    return jax.tree.map(jnp.add, carry, jax.lax.switch(which, branches, piece)), None

  pieces = split((batch, ends), size)
  first = jax.tree.map(lambda x: x[0], pieces[0])
  shapes = jax.eval_shape(branches[-1], first)
  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
  (total, metrics), _ = jax.lax.scan(add, zeros, pieces)
  return metrics, total
