"""Gradients of a batch that does not fit in memory at once."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from empg_jax.distributed import sharding
from empg_jax.io import words


class Pieces(NamedTuple):
  """A batch split into microbatches, as a list of leaves."""

  leaves: list[Array]  # [N, size, ...]
  ends: Int[Array, "N size"]  # one past the last used token of each row

  def minibatches(self, count: int) -> "Pieces":
    """[N, ...] -> [count, N // count, ...], each with short and long rows."""
    deal = lambda x: jnp.moveaxis(x.reshape(-1, count, *x.shape[1:]), 1, 0)
    return Pieces(*jax.tree.map(deal, tuple(self)))


def split(batch: Any, used: Bool[Array, "B T"], size: int) -> Pieces:
  """Splits a pytree of [B, ...] arrays; rows m, m + N, m + 2N, ... go to microbatch m of N.

  Each microbatch has rows of every device, so the row axis stays sharded.
  """

  def rows(x):
    return jnp.moveaxis(x.reshape(size, -1, *x.shape[1:]), 1, 0)

  places = jnp.arange(1, used.shape[1] + 1)[None, :]
  ends = jnp.max(jnp.where(used, places, 0), axis=1)
  return Pieces([rows(x) for x in jax.tree.leaves(batch)], rows(ends))


def join(pieces: Array) -> Array:
  """Undoes `split` for one array: [N, size, ...] -> [B, ...]."""
  return jnp.moveaxis(pieces, 0, 1).reshape(-1, *pieces.shape[2:])


def share(
  weights: Float[Array, "B T"], votes: Float[Array, "B"], size: int, minibatches: int
) -> Float[Array, "B T"]:
  """Rescales token weights from a mean over the whole batch to a mean over each minibatch.

  Args:
    weights: of algorithms.Signal.
    votes: of algorithms.Signal; a row may have a fraction of one.
    size: rows in a microbatch.
    minibatches: their number in the batch.
  """
  rows = weights.shape[0]
  minibatch = jnp.arange(rows) % (rows // size) % minibatches
  total = jax.ops.segment_sum(votes, minibatch, minibatches)
  return weights * (jnp.sum(votes) / jnp.where(total > 0, total, 1))[minibatch][:, None]


def check(rows: int, size: int, minibatches: int = 1) -> None:
  """Raises ValueError unless the rows divide into minibatches, and those into microbatches."""
  if min(size, minibatches) < 1 or rows % (size * minibatches):
    raise ValueError(
      f"A batch of {words.count(rows, 'row')} does not divide into"
      f" {words.count(minibatches, 'minibatch', 'minibatches')} of microbatches of"
      f" {words.count(size, 'row')}: choose train.minibatches and train.size so that it does."
    )


def sum_gradients(
  loss: Callable[[Any, Any], tuple[jax.Array, Any]],
  model: Any,
  pieces: Pieces,
  structure: jax.tree_util.PyTreeDef,
  *,
  lengths: Sequence[int] = (),
) -> tuple[Any, Any]:
  """Sums gradient and metrics of `loss(model, rows) -> (scalar, metrics)` over microbatches.

  Each microbatch is cut to the shortest of `lengths` that holds its last used token. With rows
  of similar length together (rollout.pack.deal), this leaves little padding.

  Args:
    loss: its sum over microbatches is the batch's loss (its weights come from the whole
      batch).
    model: differentiated.
    pieces: of the batch.
    structure: of the batch that `loss` takes.
    lengths: that a microbatch may be cut to.

  Returns:
    Metrics and gradient, summed. Only one microbatch's activations exist at a time.
  """
  longest = max(x.shape[2] for x in pieces.leaves if x.ndim > 2)
  cuts = (*sorted(n for n in lengths if n < longest), longest)
  gradient = jax.grad(loss, has_aux=True)

  def at_length(length):
    cut = lambda x: x[:, :length] if x.ndim > 1 else x

    def at(leaves):
      total, metrics = gradient(model, structure.unflatten(map(cut, leaves)))
      return sharding.constrain(total), metrics

    return at

  branches = [at_length(length) for length in cuts]

  def add(carry, piece):
    which = jnp.searchsorted(jnp.array(cuts), jnp.max(piece.ends))
    return jax.tree.map(jnp.add, carry, jax.lax.switch(which, branches, piece.leaves)), None

  shapes = jax.eval_shape(lambda: branches[-1]([x[0] for x in pieces.leaves]))
  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
  (total, metrics), _ = jax.lax.scan(add, zeros, pieces)
  return metrics, total
