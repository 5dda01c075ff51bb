"""The clipped policy loss over tokens, as sums that microbatches may split.

Every quantity is a sum over tokens weighted by `token_weights`, which are made
once from the whole batch. The sum over microbatches, each with its rows of the
weights, is then exactly the whole batch's loss, gradient and metrics.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from empg_jax.core import border
from empg_jax.types import Metrics, Scalar, TokenStats

Aggregation = Literal["token_mean", "sequence_mean"]

_MAX_LOG_RATIO = 20.0  # exp(20) = 5e8: beyond every clip, and finite


def token_weights(
    mask: Bool[Array, "B T"], aggregation: Aggregation = "token_mean"
) -> Float[Array, "B T"]:
  """How much each token counts in the loss; the weights sum to 1.

  Args:
    mask: the agent's tokens.
    aggregation: "token_mean": every token of the batch counts alike (DAPO);
      "sequence_mean": every row counts alike, and the tokens within it (GRPO).

  Returns:
    Float32 weights, 0 where `mask` is False; all 0 for an empty mask.
  """
  mask = mask.astype(jnp.float32)
  if aggregation == "token_mean":
    return mask / jnp.maximum(jnp.sum(mask), 1)
  if aggregation == "sequence_mean":
    tokens = jnp.sum(mask, axis=1, keepdims=True)
    rows = jnp.sum(tokens > 0, dtype=jnp.float32)
    return mask / jnp.maximum(tokens, 1) / jnp.maximum(rows, 1)
  raise ValueError(
      f"aggregation is {aggregation!r}; it must be 'token_mean' or 'sequence_mean'."
  )


def policy_loss(
    stats: TokenStats,
    advantages: Float[Array, "B T"],
    weights: Float[Array, "B T"],
    *,
    behavior_logprobs: Float[Array, "B T"] | None = None,
    reference_logprobs: Float[Array, "B T"] | None = None,
    kl_coef: Scalar = 0.0,
    entropy_coef: Scalar = 0.0,
    clip_low: Scalar = 0.2,
    clip_high: Scalar = 0.2,
) -> tuple[Float[Array, ""], Metrics]:
  """The clipped surrogate, with an optional KL penalty and entropy bonus.

  With r = pi / pi_behavior and c(r) = clip(r, 1 - clip_low, 1 + clip_high),

    loss = sum_t w_t [ -min(r_t A_t, c(r_t) A_t) + kl_coef K_t - entropy_coef H_t ]

  where K = q - 1 - log q, q = pi_reference / pi, estimates the divergence from
  the reference policy ("k3").

  Args:
    stats: of the policy in training; gradients flow to both parts.
    advantages: no gradient flows to them.
    weights: see `token_weights`; tokens of weight 0 count nowhere, whatever
      they hold.
    behavior_logprobs: of the policy that sampled. None: this very policy, so
      the ratio is 1 (and its gradient that of log pi).
    reference_logprobs: None: no KL penalty, and a KL of 0.
    kl_coef: weight of the KL penalty.
    entropy_coef: weight of the entropy bonus.
    clip_low: how far the ratio may fall below 1.
    clip_high: how far it may rise above 1.

  Returns:
    The loss, and metrics. All are sums over tokens: add them up over
    microbatches.
  """
  for name, x in (
      ("advantages", advantages),
      ("weights", weights),
      ("behavior_logprobs", behavior_logprobs),
      ("reference_logprobs", reference_logprobs),
  ):
    if x is not None:
      border.shape(name, x, ("[B, T]", stats.logprobs.shape))
  mask = weights > 0
  logprobs = jnp.where(mask, stats.logprobs, 0)
  advantages = jax.lax.stop_gradient(jnp.where(mask, advantages, 0))
  if behavior_logprobs is None:
    behavior_logprobs = logprobs
  log_ratio = _log_ratio(logprobs, jax.lax.stop_gradient(behavior_logprobs), mask)
  ratio = jnp.exp(log_ratio)
  surrogate = ratio * advantages
  clipped = jnp.clip(ratio, 1 - clip_low, 1 + clip_high) * advantages
  terms = {
      "loss/policy": -jnp.minimum(surrogate, clipped),
      "loss/entropy": jnp.where(mask, stats.entropy, 0),
      "loss/clip_fraction": (clipped < surrogate).astype(jnp.float32),
      "loss/behavior_kl": jnp.expm1(log_ratio) - log_ratio,
  }
  if reference_logprobs is None:
    reference_logprobs = logprobs
  log_q = _log_ratio(jax.lax.stop_gradient(reference_logprobs), logprobs, mask)
  terms["loss/kl"] = jnp.expm1(log_q) - log_q
  sums = {name: jnp.sum(weights * term) for name, term in terms.items()}
  loss = sums["loss/policy"]
  loss += kl_coef * sums["loss/kl"] - entropy_coef * sums["loss/entropy"]
  metrics = jax.lax.stop_gradient({"loss/total": loss, **sums})
  return loss, metrics


def _log_ratio(
    above: Float[Array, "B T"], below: Float[Array, "B T"], mask: Bool[Array, "B T"]
) -> Float[Array, "B T"]:
  """log(above / below) on the mask, bounded so that its exponential is finite."""
  return jnp.minimum(jnp.where(mask, above - below, 0), _MAX_LOG_RATIO)
