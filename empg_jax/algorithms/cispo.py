"""CISPO (MiniMax-M1, arXiv 2506.13585): truncates the ratio and keeps every token's gradient.

A_i = (r_i - mean of the group) / (std of the group + eps)
loss = mean over tokens of -stop_gradient(clip(ratio, 1 - clip_low, 1 + clip_high)) A log pi
"""

import functools

from empg_jax.algorithms import Algorithm, _parts, grpo
from empg_jax.core import losses, weighting
from empg_jax.core.advantages import Ddof


def make(
  *,
  clip_low: float = 1.0,
  clip_high: float = 4.0,
  kl_coef: float = 0.0,
  entropy_coef: float = 0.0,
  gamma: float = 1.0,
  ddof: Ddof = 0,
  aggregation: weighting.Aggregation = "token_mean",
) -> Algorithm:
  """CISPO.

  Args:
    clip_low: how far the ratio may fall below 1; 1 is no bound, as in the paper.
    clip_high: how far it may rise above 1; the paper does not give its value, 4 is that
      of ScaleRL (arXiv 2510.13786).
    kl_coef, entropy_coef, gamma, ddof, aggregation: see grpo.make.
  """
  surrogate = functools.partial(losses.truncated_surrogate, clip_low=clip_low, clip_high=clip_high)
  loss = _parts.policy_loss(surrogate, kl_coef=kl_coef, entropy_coef=entropy_coef)
  base = grpo.make(kl_coef=kl_coef, gamma=gamma, ddof=ddof, aggregation=aggregation)
  return base._replace(loss=loss)
