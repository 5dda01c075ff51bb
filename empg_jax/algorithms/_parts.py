"""Parts that the algorithms of this folder share."""

from collections.abc import Callable
import functools
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from empg_jax.algorithms import Advantages, Loss, Metrics, Signal
from empg_jax.core import losses, masked, weighting
from empg_jax.core.advantages import group_advantages, step_advantages
from empg_jax.types import Batch, TokenStats


def signal(
  batch: Batch,
  advantages: Float[Array, "B T"],
  aggregation: weighting.Aggregation,
  length: float = 1.0,
) -> tuple[Signal, Metrics]:
  """The Signal of these advantages, and their statistics over the agent's tokens."""
  mask = batch.steps > 0
  ids = dict(episode_ids=batch.episode_ids)
  weights = weighting.token_weights(batch.steps, aggregation, length=length, **ids)
  votes = weighting.row_votes(batch.steps, aggregation, **ids)
  silent = jnp.all(advantages == 0, axis=1).astype(jnp.float32)
  metrics = {
    "batch/no_signal": masked.mean(silent, mask.any(axis=1)),
    **masked.spread("batch/advantage", advantages, mask),
  }
  return Signal(advantages, weights, votes), metrics


def return_advantages(
  *,
  gamma: float,
  aggregation: weighting.Aggregation,
  baseline: Callable[..., Float[Array, "N"]] = group_advantages,
  length: float = 1.0,
) -> Advantages:
  """The `advantages` of an Algorithm that compares returns; see `compare_returns`, `signal`."""

  def advantages(batch: Batch, entropy: Float[Array, "B T"]) -> tuple[Signal, Metrics]:
    del entropy
    a = compare_returns(batch, gamma=gamma, baseline=baseline)
    return signal(batch, a, aggregation, length)

  return advantages


def compare_returns(
  batch: Batch,
  *,
  gamma: float,
  baseline: Callable[..., Float[Array, "N"]] = group_advantages,
) -> Float[Array, "B T"]:
  """The advantage of each token: its return relative to its group.

  Args:
    batch: the whole batch.
    gamma: 1: the episode's whole return on all of its steps, each episode counted once.
      Below 1: the discounted return from each step on, each step counted once.
    baseline: a function with the signature of core.advantages.group_advantages.
  """
  mask = batch.steps > 0
  if gamma == 1:
    exists = mask.any(axis=1)
    a = baseline(batch.returns, batch.group_ids, episode_ids=batch.episode_ids, exists=exists)
    return jnp.where(mask, jnp.broadcast_to(a[:, None], mask.shape), 0.0)
  groups = jnp.broadcast_to(batch.group_ids[:, None], mask.shape)
  of_steps: Array = step_advantages(
    batch.rewards, batch.steps, groups, batch.episode_ids, gamma=gamma, baseline=baseline
  )
  return of_steps


def policy_loss(surrogate: Callable[..., losses.Surrogate], **options: Any) -> Loss:
  """The `loss` of an Algorithm: core.losses.policy_loss with this surrogate and these options."""

  def loss(
    stats: TokenStats,
    signal: Signal,
    rows: Batch,
    reference_logprobs: Float[Array, "B T"] | None,
  ) -> tuple[Float[Array, ""], Metrics]:
    return losses.policy_loss(
      stats,
      signal.advantages,
      signal.weights,
      behavior_logprobs=rows.behavior_logprobs,
      reference_logprobs=reference_logprobs,
      surrogate=surrogate,
      **options,
    )

  return loss


def step_policy_loss(*, clip_low: float, clip_high: float, **options: Any) -> Loss:
  """As `policy_loss`, with one ratio per step (core.losses.step_surrogate)."""

  def loss(
    stats: TokenStats,
    signal: Signal,
    rows: Batch,
    reference_logprobs: Float[Array, "B T"] | None,
  ) -> tuple[Float[Array, ""], Metrics]:
    surrogate = functools.partial(
      losses.step_surrogate, steps=rows.steps, clip_low=clip_low, clip_high=clip_high
    )
    return policy_loss(surrogate, **options)(stats, signal, rows, reference_logprobs)

  return loss
