"""REINFORCE Leave-One-Out (arXiv 2402.14740).

    A_i = r_i - mean of the group's other returns
    loss = mean over tokens of -min(ratio A, clip(ratio) A) + kl_coef KL - entropy_coef H

The paper has no clip; it has no effect while updates are on-policy.
"""

from empg_jax.algorithms import Algorithm, _parts, grpo
from empg_jax.core import weighting
from empg_jax.core.advantages import leave_one_out_advantages


def make(
  *,
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  kl_coef: float = 0.0,
  entropy_coef: float = 0.0,
  gamma: float = 1.0,
  aggregation: weighting.Aggregation = "token_mean",
) -> Algorithm:
  """RLOO; for its arguments see grpo.make."""
  advantages = _parts.return_advantages(
    gamma=gamma, aggregation=aggregation, baseline=leave_one_out_advantages
  )
  base = grpo.make(
    clip_low=clip_low, clip_high=clip_high, kl_coef=kl_coef, entropy_coef=entropy_coef
  )
  return base._replace(advantages=advantages)
