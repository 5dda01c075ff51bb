"""Proximal Policy Optimization with a value head (arXiv 1707.06347), over turns.

    delta_t = r_t + gamma V_{t+1} - V_t
    A_t     = delta_t + gamma lam A_{t+1}, then normalised by mean and std over all steps
    loss    = mean over tokens of -min(ratio A, clip(ratio) A) + kl_coef KL - entropy_coef H
              + value_coef max((V - R)^2, (V_old + clip(V - V_old) - R)^2) / 2,  R = V_old + A

t counts the agent's turns, not its tokens: V_t is read where turn t begins, and all tokens of
a turn have its advantage, as in Turn-PPO (arXiv 2512.17008) and ArCHer (arXiv 2402.19446).
PPO baselines on verl have a value per token and skip observations in the recursion. For an
agent, the turn is what acts on the environment and earns the reward; gamma counts turns in
this folder's other methods, and EMPG scales turns. On WebShop, Turn-PPO found turns better.

The head is a linear map on the policy's own decoder, trained with it by one optimizer; verl
trains a second model. PPO needs no groups: one episode per task is enough.
"""

from jaxtyping import Array, Float

from empg_jax.algorithms import Algorithm, Metrics, Signal, _parts, grpo
from empg_jax.core import values, weighting
from empg_jax.types import Batch


def make(
  *,
  gamma: float = 1.0,
  lam: float = 0.95,
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  value_coef: float = 0.5,
  value_clip: float = 0.5,
  kl_coef: float = 0.0,
  entropy_coef: float = 0.0,
  aggregation: weighting.Aggregation = "token_mean",
) -> Algorithm:
  """PPO.

  Args:
    gamma: the discount per turn.
    lam: 1: advantages from whole returns; lower: more from the next turns' values.
    value_coef: weight of the value loss.
    value_clip: how far a value may move in one batch's updates, 0.5 as in verl; 0: no bound.
    clip_low, clip_high, kl_coef, entropy_coef, aggregation: see grpo.make; a turn's value
      has the weight of its tokens.
  """

  def advantages(batch: Batch, entropy: Float[Array, "B T"]) -> tuple[Signal, Metrics]:
    del entropy
    estimates = values.gae(
      batch.rewards, batch.values, batch.steps, batch.episode_ids, gamma=gamma, lam=lam
    )
    signal, metrics = _parts.signal(batch, estimates.advantages, aggregation)
    signal = signal._replace(targets=estimates.targets)
    return signal, {**metrics, **values.fit(estimates, batch.steps)}

  def value_loss(
    new: Float[Array, "B T"], signal: Signal, rows: Batch
  ) -> tuple[Float[Array, ""], Metrics]:
    assert signal.targets is not None and rows.values is not None  # of `advantages`, of the batch
    loss, metrics = values.clipped_value_loss(
      new, signal.targets, signal.weights, rows.steps, old_values=rows.values, clip=value_clip
    )
    return value_coef * loss, metrics

  base = grpo.make(
    clip_low=clip_low, clip_high=clip_high, kl_coef=kl_coef, entropy_coef=entropy_coef
  )
  return base._replace(advantages=advantages, value_loss=value_loss)
