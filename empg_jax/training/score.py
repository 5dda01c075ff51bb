"""What a policy says of given tokens."""

from typing import Any

from empg_jax import sharding
from empg_jax.core.fused import fused_token_stats
from empg_jax.models.decoder import Decoder
from empg_jax.types import TokenStats


def token_stats(
    model: Decoder,
    rows: Any,
    *,
    temperature: float = 1.0,
    compute_dtype: str,
    remat: bool = False,
) -> TokenStats:
  """Log-probabilities and entropies [B, T] of the rows' actions under `model`.

  Args:
    model: the policy.
    rows: have `tokens` and `actions` [B, T].
    temperature: of the policy.
    compute_dtype: operand type of the matrix products.
    remat: recompute layers in the backward pass rather than keep their activations.
  """

  def stats(hidden, unembedding, actions):
    return fused_token_stats(
        hidden, unembedding, actions, temperature=temperature, compute_dtype=compute_dtype
    )

  # A kernel has to be told what it finds on a device; XLA does not divide it.
  stats = sharding.typed(
      stats, (sharding.ROWS,), (sharding.FSDP, sharding.TENSOR), (sharding.ROWS,)
  )
  hidden = model(rows.tokens, compute_dtype=compute_dtype, remat=remat)
  return stats(hidden, model.unembedding, rows.actions)
