"""Log-probability and entropy at every token, from logits."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from empg_jax.core import border
from empg_jax.types import Scalar, TokenStats


@jax.jit
def token_stats(
    logits: Float[Array, "B T V"],
    actions: Int[Array, "B T"],
    *,
    temperature: Scalar = 1.0,
) -> TokenStats:
  """Log-probability of each action, and entropy of the policy that chose it.

  Gradients are exact and need no more memory than the logits themselves:

    d loss / d logits = g_logp (onehot - p) - g_H p (log p + H)

  Args:
    logits: any float dtype; computed in float32. `logits[b, t]` is the
      distribution `actions[b, t]` was drawn from (the caller shifts). -inf
      marks what cannot be drawn.
    actions: token ids. Where the result is not used they may be anything.
    temperature: the policy is softmax(logits / temperature).

  Returns:
    (logprobs, entropy), float32, in nats.
  """
  if logits.ndim != 3:
    raise ValueError(f"logits has shape {logits.shape}; it must be [B, T, V].")
  border.integers("actions", actions)
  border.shape("actions", actions, ("[B, T]", logits.shape[:2]))
  actions = jnp.clip(actions, 0, logits.shape[2] - 1)
  return TokenStats(*_stats(logits, actions, jnp.asarray(temperature, jnp.float32)))


@jax.custom_vjp
def _stats(logits, actions, temperature):
  return _stats_fwd(logits, actions, temperature)[0]


def _stats_fwd(logits, actions, temperature):
  z = logits.astype(jnp.float32) / temperature
  top = jnp.max(z, axis=-1)
  # Relative to the top nothing overflows, log p <= 0, and no digits are lost.
  z -= top[..., None]
  p = jnp.exp(z)
  total = jnp.sum(p, axis=-1)
  log_total = jnp.log(total)
  logprobs = _at_action(z, actions) - log_total
  entropy = log_total - jnp.sum(jnp.where(jnp.isfinite(z), p * z, 0), axis=-1) / total
  saved = (logits, actions, temperature, top, log_total, entropy)
  return (logprobs, entropy), saved


def _stats_bwd(saved, cotangents):
  logits, actions, temperature, top, log_total, entropy = saved
  g_logp, g_entropy = (g[..., None] for g in cotangents)
  z = logits.astype(jnp.float32) / temperature
  log_p = (z - top[..., None]) - log_total[..., None]
  p = jnp.exp(log_p)
  log_p = jnp.where(jnp.isfinite(log_p), log_p, 0)  # p log p is 0 at p = 0
  d = -p * (g_logp + g_entropy * (log_p + entropy[..., None]))
  d += jnp.where(_is_action(z, actions), g_logp, 0)
  d_logits = (d / temperature).astype(logits.dtype)
  # Shifts of the logits change nothing, so log p stands for logits / temperature.
  return d_logits, None, -jnp.sum(d * log_p) / temperature


_stats.defvjp(_stats_fwd, _stats_bwd)


def _is_action(z, actions):
  index = jax.lax.broadcasted_iota(jnp.int32, (1, 1, z.shape[-1]), 2)
  return index == actions[..., None]


def _at_action(z, actions):
  if jax.typeof(z).sharding.spec[-1] is None:
    return jnp.take_along_axis(z, actions[..., None], axis=-1)[..., 0]
  # A gather cannot reach over a sharded V; a sum can.
  return jnp.sum(jnp.where(_is_action(z, actions), z, 0), axis=-1)
