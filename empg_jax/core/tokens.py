"""Log-probability and entropy at every token, from logits."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from empg_jax.core import border
from empg_jax.types import TokenStats


def token_stats(
    logits: Float[Array, "B T V"],
    actions: Int[Array, "B T"],
    *,
    temperature: Float[Array, ""] | float = 1.0,
) -> TokenStats:
  """Log-probability of each action, and entropy of the policy that chose it.

  Args:
    logits: any float dtype; computed in float32. -inf marks tokens that cannot
      be chosen. `logits[b, t]` is the distribution `actions[b, t]` was drawn
      from (the caller shifts).
    actions: token ids.
    temperature: the policy is softmax(logits / temperature).

  Returns:
    (logprobs, entropy), float32, in nats.
  """
  border.integers("actions", actions)
  border.shape("actions", actions, ("[B, T]", logits.shape[:-1]))
  log_pi = jax.nn.log_softmax(logits.astype(jnp.float32) / temperature)
  chosen = actions[..., None] == jax.lax.broadcasted_iota(
      jnp.int32, (1, 1, logits.shape[-1]), 2
  )
  # A select and a sum, not a gather: these also hold where V is sharded.
  logprobs = jnp.sum(jnp.where(chosen, log_pi, 0), axis=-1)
  entropy = -jnp.sum(jnp.exp(log_pi) * log_pi, axis=-1)
  return TokenStats(logprobs, entropy)
