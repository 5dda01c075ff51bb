"""The EMPG loss as one pure function of arrays."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from empg_jax.core import losses, modulation, steps, tokens, validation, weighting
from empg_jax.types import Metrics, Scalar


@functools.partial(jax.jit, static_argnames=("aggregation",))
def empg_loss(
  logits: Float[Array, "B T V"],
  actions: Int[Array, "B T"],
  returns: Float[Array, "B"] | Float[Array, "B T"],
  step_mask: Bool[Array, "B T"] | Int[Array, "B T"],
  *,
  k: Scalar = 1.0,
  k_future: Scalar = 1.0,
  zeta: Scalar = 0.05,
  episode_ids: Int[Array, "B"] | None = None,
  token_entropy: Float[Array, "B T"] | None = None,
  behavior_logprobs: Float[Array, "B T"] | None = None,
  reference_logprobs: Float[Array, "B T"] | None = None,
  kl_coef: Scalar = 0.0,
  entropy_coef: Scalar = 0.0,
  clip_low: Scalar = 0.2,
  clip_high: Scalar = 0.2,
  aggregation: weighting.Aggregation = "token_mean",
) -> tuple[Float[Array, ""], Metrics]:
  """The EMPG loss of a batch of episodes, and its metrics.

  Positions where `step_mask` is 0 are ignored: every other argument may hold anything there,
  NaN and Inf included, and the gradient of `logits` there is exactly 0.

  Args:
    logits: any float dtype, computed in float32. `logits[b, t]` is the
      distribution `actions[b, t]` was drawn from (the caller shifts).
    actions: token ids.
    returns: the learning signal A of each row's episode: a return or, preferably, a
      group-normalised advantage (`group_advantages`).
    step_mask: bool: each maximal run of True in a row is an agent step; or int:
      0 or less is not the agent's token, s >= 1 a token of its episode's step s.
    k: how strongly entropy scales a step's advantage.
    k_future: how strongly the next step's entropy lowers its bonus.
    zeta: weight of the bonus for a clear next step.
    episode_ids: the episode of each row, any integers, where episodes have several rows (one
      row a turn). None: every row is its own episode.
    token_entropy: the entropy of the behaviour policy, in nats. None: that of `logits`,
      which is the same while the update is strictly on-policy.
    behavior_logprobs: log-probabilities of the actions under the behaviour policy. None:
      those of `logits`, which makes the ratio 1.
    reference_logprobs: log-probabilities of the actions under the reference policy of the
      KL penalty.
    kl_coef: weight of the KL penalty.
    entropy_coef: weight of the entropy bonus.
    clip_low: how far the policy ratio may fall below 1.
    clip_high: how far it may rise above 1.
    aggregation: see `weighting.token_weights`.

  Returns:
    The loss, a float32 scalar, and a flat dict of float32 scalars. A batch without agent
    tokens, or without any (B or T of 0), has a loss of 0.

  Raises:
    ValueError, TypeError: a shape or dtype does not fit.
  """
  validation.logits(logits)
  shape = logits.shape[:2]
  validation.shape("step_mask", step_mask, ("[B, T]", shape))
  validation.shape("returns", returns, ("[B]", shape[:1]), ("[B, T]", shape))
  validation.scalars(
    k=k, k_future=k_future, zeta=zeta, kl_coef=kl_coef, entropy_coef=entropy_coef,
    clip_low=clip_low, clip_high=clip_high,
  )  # fmt: skip
  if token_entropy is not None:
    validation.shape("token_entropy", token_entropy, ("[B, T]", shape))
  # Before the softmax: its gradient at NaN is NaN even where the result is unused.
  logits = jnp.where(steps.is_agent(step_mask)[..., None], logits, 0)
  stats = tokens.token_stats(logits, actions)
  if token_entropy is None:
    token_entropy = stats.entropy
  advantages, _, metrics = modulation.modulate(
    returns,
    token_entropy,
    step_mask,
    k=k,
    k_future=k_future,
    zeta=zeta,
    episode_ids=episode_ids,
  )
  loss, sums = losses.policy_loss(
    stats,
    advantages,
    weighting.token_weights(step_mask, aggregation, episode_ids=episode_ids),
    behavior_logprobs=behavior_logprobs,
    reference_logprobs=reference_logprobs,
    kl_coef=kl_coef,
    entropy_coef=entropy_coef,
    surrogate=functools.partial(losses.clipped_surrogate, clip_low=clip_low, clip_high=clip_high),
  )
  return loss, {**sums, **metrics}
