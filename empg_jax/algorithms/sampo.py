"""SAMPO (ARLArena, arXiv 2602.21534): what keeps training of agents stable, put together.

Advantages of GiGPO, clipped by one ratio a sequence as in GSPO, on groups whose returns differ
(rollout.max_rounds). The paper's abstract names these three; its constants were not at hand,
so the defaults are those of GiGPO and GSPO.
"""

from empg_jax.algorithms import Algorithm, gigpo, gspo


def make(
    *,
    omega: float = 1.0,
    gamma: float = 0.95,
    clip_low: float = 3e-4,
    clip_high: float = 4e-4,
    kl_coef: float = 0.0,
    entropy_coef: float = 0.0,
) -> Algorithm:
  """SAMPO; its arguments are explained at gigpo.make and gspo.make."""
  loss = gspo.make(
      clip_low=clip_low, clip_high=clip_high, kl_coef=kl_coef, entropy_coef=entropy_coef
  )
  signal = gigpo.make(omega=omega, gamma=gamma, aggregation="token_mean")
  return loss._replace(advantages=signal.advantages)
