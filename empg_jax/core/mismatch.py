"""The mismatch between the trainer's probabilities and the sampler's.

Sampler and trainer compute the same policy in different orders and precisions; a correction
multiplies a token's advantage by their truncated ratio (arXiv 2508.02260 and others).
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from empg_jax.core import losses, masked
from empg_jax.types import Metrics, Scalar, TokenStats


def truncated_ratio(
  trainer: TokenStats, sampler: TokenStats, mask: Bool[Array, "B T"], truncation: Scalar
) -> tuple[Float[Array, "B T"], Metrics]:
  """min(pi_trainer / pi_sampler, truncation) of each action, and metrics of the mismatch.

  Args:
    trainer: of the policy before this update.
    sampler: recorded while sampling.
    mask: the agent's tokens.
    truncation: the maximum of the ratio.

  Returns:
    The ratio, float32, 1 outside the mask; and metrics over the mask.
  """
  log_ratio = losses.bounded_log_ratio(trainer.logprobs, sampler.logprobs, mask)
  ratio = jnp.exp(log_ratio)
  metrics = {
    "mismatch/kl": masked.mean(losses.kl_estimate(log_ratio, "k3"), mask),
    "mismatch/ratio_max": masked.maximum(ratio, mask),
    "mismatch/truncated": masked.mean((ratio > truncation).astype(jnp.float32), mask),
    "mismatch/entropy": masked.mean(jnp.abs(trainer.entropy - sampler.entropy), mask),
  }
  return jnp.minimum(ratio, truncation), metrics
