"""Group Sequence Policy Optimization (arXiv 2507.18071): one policy ratio per sequence.

    A_i = (r_i - mean of the group) / (std of the group + eps)
    s   = exp(mean over the sequence's tokens of log ratio)
    loss = mean over sequences of -min(s A, clip(s, 1 - clip_low, 1 + clip_high) A)

A sequence is what the agent writes in one turn, a step: the paper's y, the answer to its
prompt x. Each counts once (equation 5), whatever its length and its row. verl's GSPO loss (a
mean over rows of a mean over tokens) is the same in verl-agent, where a row is a turn.
"""

from empg_jax.algorithms import Algorithm, _parts, grpo
from empg_jax.core import weighting
from empg_jax.core.advantages import Ddof


def make(
  *,
  clip_low: float = 3e-4,
  clip_high: float = 4e-4,
  kl_coef: float = 0.0,
  entropy_coef: float = 0.0,
  gamma: float = 1.0,
  ddof: Ddof = 0,
  aggregation: weighting.Aggregation = "step_mean",
) -> Algorithm:
  """GSPO.

  Args:
    clip_low, clip_high: how far a sequence's ratio may fall below and rise above 1. The
      paper's values; a mean moves less than a token's ratio.
    kl_coef, entropy_coef, gamma, ddof, aggregation: see grpo.make.
  """
  loss = _parts.step_policy_loss(
    clip_low=clip_low, clip_high=clip_high, kl_coef=kl_coef, entropy_coef=entropy_coef
  )
  base = grpo.make(kl_coef=kl_coef, gamma=gamma, ddof=ddof, aggregation=aggregation)
  return base._replace(loss=loss)
