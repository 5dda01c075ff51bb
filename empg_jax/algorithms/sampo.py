"""SAMPO (ARLArena, arXiv 2602.21534): three stabilisers of agent training combined.

Advantages of GiGPO, clipped by one ratio per turn as in GSPO, on groups whose returns differ
(rollout.max_rounds). The paper's abstract names these three. The code published with it
(github.com/WillDreamer/ARLArena, January 2026) has no trainer, option or script of this name,
and its scripts never combine them, so the constants here are those of GiGPO and GSPO. Each
turn counts once, as in GSPO's loss there and in gspo.make.
"""

from empg_jax.algorithms import Algorithm, gigpo, gspo
from empg_jax.core.advantages import Ddof


def make(
  *,
  omega: float = 1.0,
  gamma: float = 0.95,
  clip_low: float = 3e-4,
  clip_high: float = 4e-4,
  kl_coef: float = 0.0,
  entropy_coef: float = 0.0,
  ddof: Ddof = 0,
) -> Algorithm:
  """SAMPO; for its arguments see gigpo.make and gspo.make."""
  loss = gspo.make(
    clip_low=clip_low, clip_high=clip_high, kl_coef=kl_coef, entropy_coef=entropy_coef
  )
  signal = gigpo.make(omega=omega, gamma=gamma, ddof=ddof, aggregation="step_mean")
  return loss._replace(advantages=signal.advantages)
