"""What a policy and its value head say of given tokens."""

from typing import Any, NamedTuple

from jaxtyping import Array, Float

from empg_jax.core.fused import fused_token_stats
from empg_jax.distributed import sharding
from empg_jax.models.decoder import Decoder
from empg_jax.models.value_head import ValueHead
from empg_jax.types import TokenStats


class Scores(NamedTuple):
  """Of the rows' actions; None where it was not asked for."""

  stats: TokenStats | None
  values: Float[Array, "B T"] | None
  """Of the state in which each action was chosen."""


def token_stats(model: Decoder, rows: Any, **options: Any) -> TokenStats:
  """Log-probabilities and entropies [B, T] of the rows' actions under `model`; see `scores`."""
  return scores(model, None, rows, **options).stats


def scores(
  model: Decoder,
  value_head: ValueHead | None,
  rows: Any,
  *,
  temperature: float = 1.0,
  compute_dtype: str,
  remat: bool = False,
  with_stats: bool = True,
) -> Scores:
  """One pass of the decoder over the rows, and what its last hidden states give.

  Args:
    model: the policy.
    value_head: None: no values.
    rows: have `tokens` and `actions` [B, T].
    temperature: of the policy.
    compute_dtype: operand type of the matrix products.
    remat: recompute layers in the backward pass rather than keep their activations.
    with_stats: whether log-probabilities and entropies are wanted; they cost a pass over
      the vocabulary.
  """
  hidden = model(rows.tokens, compute_dtype=compute_dtype, remat=remat)
  values = None if value_head is None else value_head(hidden)
  if not with_stats:
    return Scores(None, values)

  def stats(hidden, unembedding, actions):
    return fused_token_stats(
      hidden, unembedding, actions, temperature=temperature, compute_dtype=compute_dtype
    )

  # A kernel needs specs of what each device holds; XLA does not divide it.
  stats = sharding.typed(
    stats, (sharding.ROWS,), (sharding.FSDP, sharding.TENSOR), (sharding.ROWS,)
  )
  return Scores(stats(hidden, model.unembedding, rows.actions), values)
