"""Log-probabilities, entropies and values of given tokens under a policy and its value head."""

from typing import Any, NamedTuple

from jaxtyping import Array, Float

from empg_jax.core.fused import fused_token_stats
from empg_jax.distributed import sharding
from empg_jax.models.decoder import Decoder
from empg_jax.models.value_head import ValueHead
from empg_jax.types import TokenStats


class Scores(NamedTuple):
  """Of the rows' actions; None where not computed."""

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
  """Runs the decoder over the rows and computes stats and values from its last hidden states.

  Args:
    model: the policy.
    value_head: None: no values.
    rows: have `tokens` and `actions` [B, T].
    temperature: of the policy.
    compute_dtype: operand type of the matrix products.
    remat: recompute layers in the backward pass rather than keep their activations.
    with_stats: whether to compute log-probabilities and entropies, which costs a pass over
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

  # A kernel needs the shardings of its operands; XLA cannot partition it.
  stats = sharding.typed(
    stats, (sharding.ROWS,), (sharding.FSDP, sharding.TENSOR), (sharding.ROWS,)
  )
  return Scores(stats(hidden, model.unembedding, rows.actions), values)
