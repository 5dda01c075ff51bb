"""The policy loss over tokens, as sums that can be split into microbatches, and its parts.

Every quantity is a sum over tokens weighted by `weighting.token_weights`, which are
computed once from the whole batch. The sum over microbatches, each with its rows of the
weights, is exactly the whole batch's loss, gradient and metrics.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from empg_jax.core import explicit_mesh, steps as grids, validation
from empg_jax.types import Metrics, Scalar, TokenStats

Estimator = Literal["k1", "k2", "k3"]

_MAX_LOG_RATIO = 20.0  # exp(20) = 5e8: beyond every clip, and finite
_MAX_K3 = 10.0  # as in verl ("low_var_kl" of verl/trainer/ppo/core_algos.py), in nats


class Surrogate(NamedTuple):
  """Each token's term of the loss, and where the ratio was clipped."""

  loss: Float[Array, "B T"]
  low: Bool[Array, "B T"]
  """Clipped from below."""
  high: Bool[Array, "B T"]
  """Clipped from above."""


def clipped_surrogate(
  logprobs: Float[Array, "B T"],
  log_ratio: Float[Array, "B T"],
  advantages: Float[Array, "B T"],
  *,
  clip_low: Scalar = 0.2,
  clip_high: Scalar = 0.2,
  dual_clip: float = 0.0,
) -> Surrogate:
  """-min(r A, clip(r, 1 - clip_low, 1 + clip_high) A), as in PPO (arXiv 1707.06347).

  With `dual_clip` c > 1 it is at most -c A where A < 0, so that no single token
  with a huge ratio dominates the update (arXiv 1912.09729); 0: no such bound.
  """
  del logprobs
  ratio = jnp.exp(log_ratio)
  free = -ratio * advantages
  held = -jnp.clip(ratio, 1 - clip_low, 1 + clip_high) * advantages
  loss = jnp.maximum(free, held)
  low, high = (held > free) & (advantages < 0), (held > free) & (advantages > 0)
  if dual_clip:
    bound = -dual_clip * advantages
    far = (advantages < 0) & (loss > bound)
    loss, high = jnp.where(far, bound, loss), high | far
  return Surrogate(loss, low, high)


def step_surrogate(
  logprobs: Float[Array, "B T"],
  log_ratio: Float[Array, "B T"],
  advantages: Float[Array, "B T"],
  *,
  steps: Int[Array, "B T"],
  clip_low: Scalar,
  clip_high: Scalar,
) -> Surrogate:
  """As `clipped_surrogate`, with one ratio per step: exp(mean over its tokens of log r).

  The sequence ratio of GSPO (arXiv 2507.18071); a sequence is what the agent wrote
  in one turn, its step in `steps`.
  """

  def over_steps(log_ratio: Array, steps: Array) -> tuple[Array]:
    grid = grids.step_grid(steps)
    return (grids.to_tokens(grids.step_mean(log_ratio, grid), grid, steps.shape),)

  (of_steps,) = explicit_mesh.automatic(over_steps, log_ratio, steps, like=(log_ratio,))
  return clipped_surrogate(logprobs, of_steps, advantages, clip_low=clip_low, clip_high=clip_high)


def truncated_surrogate(
  logprobs: Float[Array, "B T"],
  log_ratio: Float[Array, "B T"],
  advantages: Float[Array, "B T"],
  *,
  clip_low: Scalar,
  clip_high: Scalar,
) -> Surrogate:
  """-clip(r) A log pi with no gradient through clip(r), as in CISPO (arXiv 2506.13585)."""
  ratio = jnp.exp(log_ratio)
  held = jax.lax.stop_gradient(jnp.clip(ratio, 1 - clip_low, 1 + clip_high))
  return Surrogate(-held * advantages * logprobs, ratio < 1 - clip_low, ratio > 1 + clip_high)


def kl_estimate(log_q: Float[Array, "B T"], estimator: Estimator) -> Float[Array, "B T"]:
  """KL(pi | reference) at each token, from log q = log(pi_reference / pi).

      k1 = -log q,  k2 = (log q)^2 / 2,  k3 = q - 1 - log q

  k1 and k3 are unbiased; k2 has the divergence's gradient, and k3 the lowest variance
  (J. Schulman, Approximating KL divergence, 2020).
  """
  if estimator == "k1":
    return -log_q
  if estimator == "k2":
    return log_q**2 / 2
  if estimator == "k3":
    return jnp.expm1(log_q) - log_q
  raise ValueError(f"kl_estimator is {estimator!r}; it must be 'k1', 'k2' or 'k3'.")


def kl_penalty(log_q: Float[Array, "B T"], estimator: Estimator) -> Float[Array, "B T"]:
  """`kl_estimate` for a loss: k3 is at most 10 nats per token, as in verl.

  Without the bound, a reference 15 nats above adds 3e6. Above it the gradient is 0.
  """
  estimate = kl_estimate(log_q, estimator)
  return jnp.minimum(estimate, _MAX_K3) if estimator == "k3" else estimate


def policy_loss(
  stats: TokenStats,
  advantages: Float[Array, "B T"],
  weights: Float[Array, "B T"],
  *,
  behavior_logprobs: Float[Array, "B T"] | None = None,
  reference_logprobs: Float[Array, "B T"] | None = None,
  kl_coef: Scalar = 0.0,
  kl_estimator: Estimator = "k3",
  entropy_coef: Scalar = 0.0,
  surrogate: Callable[..., Surrogate] = clipped_surrogate,
) -> tuple[Float[Array, ""], Metrics]:
  """A surrogate of the policy gradient, with an optional KL penalty and entropy bonus.

      loss = sum_t w_t [ surrogate_t + kl_coef K_t - entropy_coef H_t ]

  Args:
    stats: of the policy in training; gradients flow to both parts.
    advantages: no gradient flows to them.
    weights: see `weighting.token_weights`; tokens of weight 0 are ignored, whatever
      they hold.
    behavior_logprobs: of the behaviour policy. None: those of `stats`, so the ratio
      is 1 (and its gradient that of log pi).
    reference_logprobs: None: no KL penalty, and a KL of 0.
    kl_coef: weight of the KL penalty.
    kl_estimator: see `kl_estimate` and, for its bound, `kl_penalty`.
    entropy_coef: weight of the entropy bonus.
    surrogate: takes log pi, log r of the ratio r = pi / pi_behavior, and the
      advantages.

  Returns:
    The loss, and metrics. All are weighted sums over tokens: add them up
    over microbatches.
  """
  _check(
    stats,
    advantages=advantages,
    weights=weights,
    behavior_logprobs=behavior_logprobs,
    reference_logprobs=reference_logprobs,
  )
  mask = weights > 0
  logprobs = jnp.where(mask, stats.logprobs, 0)
  advantages = jax.lax.stop_gradient(jnp.where(mask, advantages, 0))
  if behavior_logprobs is None:
    behavior_logprobs = logprobs
  log_ratio = bounded_log_ratio(logprobs, jax.lax.stop_gradient(behavior_logprobs), mask)
  policy, low, high = surrogate(logprobs, log_ratio, advantages)
  if reference_logprobs is None:
    reference_logprobs = logprobs
  log_q = bounded_log_ratio(jax.lax.stop_gradient(reference_logprobs), logprobs, mask)
  terms = {
    "loss/policy": policy,
    "loss/entropy": jnp.where(mask, stats.entropy, 0),
    "loss/clip_low": low.astype(jnp.float32),
    "loss/clip_high": high.astype(jnp.float32),
    "loss/clip_fraction": (low | high).astype(jnp.float32),
    "loss/ratio": jnp.exp(log_ratio),
    "loss/behavior_kl": kl_estimate(log_ratio, "k3"),
    "loss/kl": kl_penalty(log_q, kl_estimator),
  }
  sums = {name: jnp.sum(weights * term) for name, term in terms.items()}
  loss = sums["loss/policy"]
  loss += kl_coef * sums["loss/kl"] - entropy_coef * sums["loss/entropy"]
  metrics = jax.lax.stop_gradient({"loss/total": loss, **sums})
  return loss, metrics


def bounded_log_ratio(
  above: Float[Array, "B T"], below: Float[Array, "B T"], mask: Bool[Array, "B T"]
) -> Float[Array, "B T"]:
  """above - below, bounded so that its exponential is finite; 0 outside `mask`."""
  return jnp.minimum(jnp.where(mask, above - below, 0), _MAX_LOG_RATIO)


def _check(stats: TokenStats, **arrays: Array | None) -> None:
  for name, x in arrays.items():
    if x is not None:
      validation.shape(name, x, ("[B, T]", stats.logprobs.shape))
