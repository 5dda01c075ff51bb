"""REINFORCE++ (arXiv 2501.03262): returns normalised over the whole batch, without groups.

    A_t = (r_t - mean of the batch) / (std of the batch + eps)     over all tokens t
    loss = mean over tokens of -min(ratio A, clip(ratio) A) + kl_coef KL - entropy_coef H

r_t is the return of token t's episode. Mean and deviation count each token once, as in the
paper's equation and in verl, so a long episode moves them more than a short one.

It differs from the paper in one point: the KL penalty is in the loss, not in the reward.
"""

from typing import Any

from jaxtyping import Array, Float, Int

from empg_jax.algorithms import Algorithm, Metrics, Signal, _parts, grpo
from empg_jax.core import masked, weighting
from empg_jax.core.advantages import Ddof
from empg_jax.types import Batch


def make(
  *,
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  kl_coef: float = 0.0,
  entropy_coef: float = 0.0,
  gamma: float = 1.0,
  ddof: Ddof = 0,
  aggregation: weighting.Aggregation = "token_mean",
) -> Algorithm:
  """REINFORCE++.

  Args:
    clip_low, clip_high, kl_coef, entropy_coef, aggregation: see grpo.make.
    gamma: 1: each token has its episode's return; below 1: its step's discounted return.
    ddof: 0: the deviation is over n tokens; 1: over n - 1, as in verl.
  """

  def advantages(batch: Batch, entropy: Float[Array, "B T"]) -> tuple[Signal, Metrics]:
    del entropy
    returns = _parts.compare_returns(batch, gamma=gamma, baseline=_no_baseline)
    normal = masked.normalized(returns, batch.steps > 0, ddof=ddof)
    return _parts.signal(batch, normal, aggregation)

  base = grpo.make(
    clip_low=clip_low, clip_high=clip_high, kl_coef=kl_coef, entropy_coef=entropy_coef
  )
  return base._replace(advantages=advantages)


def _no_baseline(
  returns: Float[Array, "N"], group_ids: Int[Array, "N"], **kwargs: Any
) -> Float[Array, "N"]:
  del group_ids, kwargs
  return returns
