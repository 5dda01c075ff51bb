"""REINFORCE++ (arXiv 2501.03262): returns normalised over the whole batch, without groups.

    A_i = (r_i - mean of the batch) / (std of the batch + eps)
    loss = mean over tokens of -min(ratio A, clip(ratio) A) + kl_coef KL - entropy_coef H

One thing differs from the paper: its KL penalty is part of the reward, here it is in the loss.
"""

import dataclasses

import jax.numpy as jnp

from empg_jax.algorithms import Algorithm, grpo
from empg_jax.core import weighting


def make(
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    kl_coef: float = 0.0,
    entropy_coef: float = 0.0,
    gamma: float = 1.0,
    aggregation: weighting.Aggregation = "token_mean",
) -> Algorithm:
  """REINFORCE++; its arguments are explained at grpo.make."""

  base = grpo.make(
      clip_low=clip_low, clip_high=clip_high, kl_coef=kl_coef, entropy_coef=entropy_coef,
      gamma=gamma, aggregation=aggregation,
  )  # fmt: skip

  def advantages(batch, entropy):
    one_group = jnp.ones_like(batch.group_ids)
    return base.advantages(dataclasses.replace(batch, group_ids=one_group), entropy)

  return base._replace(advantages=advantages)
