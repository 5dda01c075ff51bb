"""Drawing one token for every slot."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key


def slot_keys(
    key: Key[Array, ""], episodes: Int[Array, "B"], turns: Int[Array, "B"]
) -> Key[Array, "B"]:
  """A key for every (episode, turn): what is drawn does not depend on slots or scheduling."""
  fold = jax.vmap(lambda e, t: jax.random.fold_in(jax.random.fold_in(key, e), t))
  return fold(episodes, turns)


def sample(
    logits: Float[Array, "B V"], keys: Key[Array, "B"], index: Int[Array, ""], temperature: Float[Array, ""]
) -> tuple[Int[Array, "B"], Float[Array, "B"], Float[Array, "B"]]:
  """Draws token number `index` of each reply from softmax(logits / temperature).

  Returns the ids, their log-probabilities and the entropies (nats) of the very
  distributions they were drawn from. A temperature of 0 takes the likeliest token.
  """
  greedy = temperature == 0
  scaled = logits / jnp.where(greedy, 1.0, temperature)
  logprobs = jax.nn.log_softmax(scaled, axis=-1)
  keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, index)
  drawn = jax.vmap(jax.random.categorical)(keys, scaled)
  ids = jnp.where(greedy, jnp.argmax(scaled, axis=-1), drawn).astype(jnp.int32)
  entropy = -jnp.sum(jnp.exp(logprobs) * logprobs, axis=-1)
  chosen = jnp.take_along_axis(logprobs, ids[:, None], axis=-1)[:, 0]
  return ids, chosen, entropy
