"""Dr. GRPO (arXiv 2503.20783): GRPO without its two divisions.

    A_i = r_i - mean of the group
    loss = mean over episodes of (sum over the episode's tokens of the clipped loss) / length

Without the division by the group's deviation, very easy and very hard tasks weigh no more
than others; without the division by the episode's length, long failures weigh no less.
"""

import functools

from empg_jax.algorithms import Algorithm, _parts, grpo
from empg_jax.core.advantages import group_advantages


def make(
  *,
  length: float,
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  kl_coef: float = 0.0,
  entropy_coef: float = 0.0,
  gamma: float = 1.0,
) -> Algorithm:
  """Dr. GRPO.

  Args:
    length: the constant that divides the sum over an episode's tokens, such as the most
      tokens that an agent can write in an episode.
    clip_low, clip_high, kl_coef, entropy_coef, gamma: see grpo.make.
  """
  advantages = _parts.return_advantages(
    gamma=gamma,
    aggregation="sequence_sum",
    baseline=functools.partial(group_advantages, scale_by_std=False),
    length=length,
  )
  base = grpo.make(
    clip_low=clip_low, clip_high=clip_high, kl_coef=kl_coef, entropy_coef=entropy_coef
  )
  return base._replace(advantages=advantages)
