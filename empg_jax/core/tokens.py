"""Log-probability and entropy at every token, from logits."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from empg_jax.core import validation
from empg_jax.types import Scalar, TokenStats


@jax.jit
def token_stats(
  logits: Float[Array, "B T V"],
  actions: Int[Array, "B T"],
  *,
  temperature: Scalar = 1.0,
) -> TokenStats:
  """Log-probability of each action, and entropy of the policy at its position.

  For logits too large for memory, see `fused_token_stats`.

  A token's results depend on its own logits alone. Where those are NaN or +Inf, so are its
  results, and so is its gradient even if its results are unused: a loss over padded rows
  takes `jnp.where(mask[..., None], logits, 0)` instead, as `empg_loss` does.

  Args:
    logits: any float dtype; computed in float32. `logits[b, t]` is the
      distribution `actions[b, t]` was drawn from (the caller shifts). -inf
      marks tokens of probability 0.
    actions: token ids. They may be anything where the result is not used.
    temperature: the policy is softmax(logits / temperature).

  Returns:
    (logprobs, entropy), float32, in nats.
  """
  validation.logits(logits)
  validation.scalars(temperature=temperature)
  validation.integers("actions", actions)
  validation.shape("actions", actions, ("[B, T]", logits.shape[:2]))
  actions = jnp.clip(actions, 0, logits.shape[2] - 1)
  log_p = jax.nn.log_softmax(logits.astype(jnp.float32) / temperature)
  # p log p is 0 at p = 0, and so is its gradient.
  entropy = -jnp.sum(jnp.exp(log_p) * jnp.maximum(log_p, -1e30), axis=-1)
  return TokenStats(_at_action(log_p, actions), entropy)


def _at_action(log_p: Float[Array, "B T V"], actions: Int[Array, "B T"]) -> Float[Array, "B T"]:
  if jax.typeof(log_p).sharding.spec[-1] is None:
    return jnp.take_along_axis(log_p, actions[..., None], axis=-1)[..., 0]
  # A gather cannot index a sharded V; a masked sum can.
  ids = jax.lax.broadcasted_iota(jnp.int32, (1, 1, log_p.shape[-1]), 2)
  return jnp.sum(jnp.where(ids == actions[..., None], log_p, 0), axis=-1)
