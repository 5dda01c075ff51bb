"""Group Relative Policy Optimization (arXiv 2402.03300).

  A_i = (r_i - mean of the group) / (std of the group + eps)
  loss = mean over tokens of -min(ratio A, clip(ratio) A) + kl_coef KL - entropy_coef H
"""

import jax.numpy as jnp

from empg_jax.algorithms import Algorithm, Signal
from empg_jax.core import losses
from empg_jax.core.advantages import group_advantages


def make(
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    kl_coef: float = 0.0,
    entropy_coef: float = 0.0,
    scale_by_std: bool = True,
    aggregation: losses.Aggregation = "token_mean",
) -> Algorithm:
  """GRPO.

  Args:
    clip_low, clip_high: how far the policy ratio may leave 1.
    kl_coef: of the k3 estimate of the KL divergence from the reference policy.
    entropy_coef: of the entropy bonus.
    scale_by_std: whether advantages are divided by the group's standard deviation.
    aggregation: "token_mean" or "sequence_mean", see losses.token_weights.
  """

  def advantages(batch, entropy):
    del entropy
    mask = batch.steps > 0
    a = group_advantages(
        batch.returns,
        batch.group_ids,
        episode_ids=batch.episode_ids,
        exists=mask.any(axis=1),
        scale_by_std=scale_by_std,
    )
    a = jnp.where(mask, jnp.broadcast_to(a[:, None], mask.shape), 0.0)
    metrics = {"batch/no_signal": jnp.mean(jnp.all(a == 0, axis=1), dtype=jnp.float32)}
    return Signal(a, losses.token_weights(mask, aggregation)), metrics

  def loss(stats, signal, rows, reference_logprobs):
    return losses.policy_loss(
        stats,
        signal.advantages,
        signal.weights,
        behavior_logprobs=rows.behavior_logprobs,
        reference_logprobs=reference_logprobs,
        kl_coef=kl_coef,
        entropy_coef=entropy_coef,
        clip_low=clip_low,
        clip_high=clip_high,
    )

  return Algorithm(advantages, loss, uses_reference=kl_coef > 0)
