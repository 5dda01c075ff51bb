"""Decoupled Clip and Dynamic Sampling Policy Optimization (arXiv 2503.14476).

    A_i = (r_i + p_i - mean of the group) / (std of the group + eps)
    p_i = 0 up to `soft_length` tokens of episode i, -1 from `max_length` on, linear between
    loss = mean over all tokens of -min(ratio A, clip(ratio, 1 - clip_low, 1 + clip_high) A)

Its fourth part, dynamic sampling, drops groups whose returns are all equal and plays others
instead; this is part of the rollout: rollout.max_rounds (rollout.dynamic).
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from empg_jax.algorithms import Algorithm, Metrics, Signal, grpo
from empg_jax.core import masked
from empg_jax.core.advantages import Ddof, over_episodes
from empg_jax.types import Batch


def make(
  *,
  clip_low: float = 0.2,
  clip_high: float = 0.28,
  dual_clip: float = 0.0,
  kl_coef: float = 0.0,
  entropy_coef: float = 0.0,
  gamma: float = 1.0,
  ddof: Ddof = 0,
  soft_length: int = 0,
  max_length: int = 0,
) -> Algorithm:
  """DAPO.

  Args:
    clip_low, clip_high, dual_clip, kl_coef, entropy_coef, gamma, ddof: see grpo.make.
    soft_length, max_length: the number of tokens that the agent may write in an episode
      without penalty, and the number from which the penalty is -1; 0 and 0: no penalty. With
      gamma below 1 the penalty is added to the reward of the episode's last step.

  Raises:
    ValueError: max_length is not 0, and soft_length is not below it.
  """
  if max_length and soft_length >= max_length:
    raise ValueError(
      f"soft_length is {soft_length} and max_length {max_length}: the penalty for long"
      " episodes needs soft_length < max_length, or 0 for both."
    )
  base = grpo.make(
    clip_low=clip_low,
    clip_high=clip_high,
    dual_clip=dual_clip,
    kl_coef=kl_coef,
    entropy_coef=entropy_coef,
    gamma=gamma,
    ddof=ddof,
    aggregation="token_mean",
  )
  if not max_length:
    return base

  def advantages(batch: Batch, entropy: Float[Array, "B T"]) -> tuple[Signal, Metrics]:
    penalty = overlong_penalty(batch, soft_length, max_length)
    last = batch.steps == _last_step(batch)[:, None]
    signal, metrics = base.advantages(
      dataclasses.replace(
        batch,
        returns=batch.returns + penalty,
        rewards=batch.rewards + jnp.where(last & (batch.steps > 0), penalty[:, None], 0),
      ),
      entropy,
    )
    overlong = masked.mean((penalty < 0).astype(jnp.float32), jnp.any(batch.steps > 0, axis=1))
    return signal, {**metrics, "batch/overlong": overlong}

  return base._replace(advantages=advantages)


def overlong_penalty(batch: Batch, soft_length: int, max_length: int) -> Float[Array, "B"]:
  """p of the equations above, between 0 and -1, from the tokens of each row's episode."""
  written = jnp.sum(batch.steps > 0, axis=1)
  tokens = over_episodes(jax.ops.segment_sum, written, batch.episode_ids)
  return jnp.clip((soft_length - tokens) / (max_length - soft_length), -1.0, 0.0)


def _last_step(batch: Batch) -> Int[Array, "B"]:
  return over_episodes(jax.ops.segment_max, jnp.max(batch.steps, axis=1), batch.episode_ids)
