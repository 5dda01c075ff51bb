"""Group Relative Policy Optimization (arXiv 2402.03300).

A_i = (r_i - mean of the group) / (std of the group + eps)
loss = mean over tokens of -min(ratio A, clip(ratio) A) + kl_coef KL - entropy_coef H
"""

import functools

from empg_jax.algorithms import Algorithm, _parts
from empg_jax.core import losses, weighting
from empg_jax.core.advantages import Ddof, group_advantages


def make(
  *,
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  dual_clip: float = 0.0,
  kl_coef: float = 0.0,
  kl_estimator: losses.Estimator = "k3",
  entropy_coef: float = 0.0,
  scale_by_std: bool = True,
  ddof: Ddof = 0,
  gamma: float = 1.0,
  aggregation: weighting.Aggregation = "token_mean",
) -> Algorithm:
  """GRPO.

  Args:
    clip_low, clip_high: how far the policy ratio may fall below and rise above 1.
    dual_clip: 0, or the bound of the ratio where the advantage is negative
      (losses.clipped_surrogate).
    kl_coef: weight of the estimated KL divergence from the reference policy.
    kl_estimator: "k1", "k2" or "k3", see losses.kl_estimate.
    entropy_coef: weight of the entropy bonus.
    scale_by_std: whether advantages are divided by the group's standard deviation.
    ddof: 0: over n episodes; 1: over n - 1, as in verl and verl-agent and so in EMPG's runs.
      There an episode counts once per turn, here once.
    gamma: 1: each step has its episode's return. Below 1: its own discounted return,
      compared with those of all steps of the group.
    aggregation: "token_mean", "sequence_mean" (a sequence is an episode, in both row layouts)
      or "step_mean", see weighting.token_weights.
  """
  baseline = functools.partial(group_advantages, scale_by_std=scale_by_std, ddof=ddof)
  advantages = _parts.return_advantages(gamma=gamma, aggregation=aggregation, baseline=baseline)
  surrogate = functools.partial(
    losses.clipped_surrogate, clip_low=clip_low, clip_high=clip_high, dual_clip=dual_clip
  )
  loss = _parts.policy_loss(
    surrogate, kl_coef=kl_coef, kl_estimator=kl_estimator, entropy_coef=entropy_coef
  )
  return Algorithm(advantages, loss, uses_reference=kl_coef > 0)
