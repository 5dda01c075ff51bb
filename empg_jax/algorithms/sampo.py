"""SAMPO (ARLArena, arXiv 2602.21534): what keeps training of agents stable, put together.

Advantages of GiGPO, clipped by one ratio a turn as in GSPO, on groups whose returns differ
(rollout.max_rounds). The paper's abstract names these three. The code published with it
(github.com/WillDreamer/ARLArena, January 2026) has no trainer, option or script of this name,
and its own scripts never join them, so the constants here are those of GiGPO and GSPO. Each
turn has one vote, as GSPO's loss has it there and in gspo.make.
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
  """SAMPO; its arguments are explained at gigpo.make and gspo.make."""
  loss = gspo.make(
    clip_low=clip_low, clip_high=clip_high, kl_coef=kl_coef, entropy_coef=entropy_coef
  )
  signal = gigpo.make(omega=omega, gamma=gamma, ddof=ddof, aggregation="step_mean")
  return loss._replace(advantages=signal.advantages)
