"""Group-in-Group Policy Optimization (arXiv 2505.10978): compares episodes, and steps too.

    A_E = (r - mean of the group) / (std of the group + eps)        of the episode's return r
    G_t = r_t + gamma G_{t+1}                                       from each step on
    A_S = (G - mean of the step group) / (std of the step group + eps)
    A   = A_E + omega A_S

A step group holds all steps of one task's episodes, at any turn, with the same observation
(Batch.anchors); a step alone in its group has A_S = 0.
"""

import functools

from jaxtyping import Array, Float

from empg_jax.algorithms import Algorithm, Metrics, Signal, _parts, grpo
from empg_jax.core import weighting
from empg_jax.core.advantages import Ddof, group_advantages, step_advantages
from empg_jax.types import Batch


def make(
  *,
  omega: float = 1.0,
  gamma: float = 0.95,
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  kl_coef: float = 0.0,
  entropy_coef: float = 0.0,
  scale_by_std: bool = True,
  ddof: Ddof = 0,
  aggregation: weighting.Aggregation = "token_mean",
) -> Algorithm:
  """GiGPO.

  Args:
    omega: weight of the step advantages A_S.
    gamma: the discount per step.
    scale_by_std: whether both advantages are divided by the standard deviation.
    clip_low, clip_high, kl_coef, entropy_coef, ddof, aggregation: see grpo.make; ddof
      applies to both deviations.
  """
  baseline = functools.partial(group_advantages, scale_by_std=scale_by_std, ddof=ddof)

  def advantages(batch: Batch, entropy: Float[Array, "B T"]) -> tuple[Signal, Metrics]:
    del entropy
    of_episodes = _parts.compare_returns(batch, gamma=1.0, baseline=baseline)
    of_steps = step_advantages(
      batch.rewards, batch.steps, batch.anchors, batch.episode_ids, gamma=gamma,
      baseline=baseline,
    )  # fmt: skip
    return _parts.signal(batch, of_episodes + omega * of_steps, aggregation)

  base = grpo.make(
    clip_low=clip_low, clip_high=clip_high, kl_coef=kl_coef, entropy_coef=entropy_coef
  )
  return base._replace(advantages=advantages)
