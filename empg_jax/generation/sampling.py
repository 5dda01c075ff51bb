"""Drawing one token for every slot."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

BLOCK = 256  # of the vocabulary


def slot_keys(
  key: Key[Array, ""], episodes: Int[Array, "B"], turns: Int[Array, "B"]
) -> Key[Array, "B"]:
  """A key for every (episode, turn): what is drawn does not depend on slots or scheduling."""
  fold = jax.vmap(lambda e, t: jax.random.fold_in(jax.random.fold_in(key, e), t))
  return fold(episodes, turns)


def sample(
  logits: Float[Array, "B V"],
  keys: Key[Array, "B"],
  index: Int[Array, "B"],
  temperature: Array,
  vocab_size: int | None = None,
) -> tuple[Int[Array, "B"], Float[Array, "B"], Float[Array, "B"]]:
  """Draws token number `index` of each reply, counted from 0, from softmax(logits / temperature).

  A temperature of 0 takes the likeliest token. Of ids from `vocab_size` on, the rows that pad
  a model's vocabulary, none is drawn.

  Returns the ids, and their log-probabilities and the entropies (nats) of the whole softmax,
  padding included. The update computes these from the same logits, so that on-policy ratios are
  1. The distribution drawn from is larger by the padding's share, near 0 in a trained model.
  """
  greedy = temperature == 0
  scaled = logits / jnp.where(greedy, 1.0, temperature)
  logprobs = jax.nn.log_softmax(scaled, axis=-1)
  probabilities = jnp.exp(logprobs)
  keys = jax.vmap(jax.random.fold_in)(keys, index)
  uniform = jax.vmap(lambda key: jax.random.uniform(key, (2,)))(keys)
  spoken, chances = scaled, probabilities
  if vocab_size is not None:
    padding = jax.lax.broadcasted_iota(jnp.int32, scaled.shape, 1) >= vocab_size
    spoken, chances = jnp.where(padding, -jnp.inf, scaled), jnp.where(padding, 0, probabilities)
  drawn, possible = jax.vmap(_draw)(chances, uniform)
  likeliest = jnp.argmax(spoken, axis=-1)
  ids = jnp.where(possible & ~greedy, drawn, likeliest).astype(jnp.int32)
  entropy = -jnp.sum(probabilities * logprobs, axis=-1)
  chosen = jnp.take_along_axis(logprobs, ids[:, None], axis=-1)[:, 0]
  return ids, chosen, entropy


def _draw(
  probabilities: Float[Array, "V"], uniform: Float[Array, "2"]
) -> tuple[Int[Array, ""], Bool[Array, ""]]:
  """Draws a block of the vocabulary, then a token within it, each by its cumulative sum.

  The second result is False where rounding led to a token of probability 0.

  Two random numbers for each token rather than one for every vocabulary entry, which
  would take longer than all else in decoding a small model; and two rather than one, so
  that rare tokens keep their share in float32.
  """
  vocab = probabilities.shape[0]
  blocks = jnp.pad(probabilities, (0, -vocab % BLOCK)).reshape(-1, BLOCK)
  block = _first_beyond(jnp.sum(blocks, axis=1), uniform[0])
  token = block * BLOCK + _first_beyond(blocks[block], uniform[1])
  token = jnp.minimum(token, vocab - 1)
  return token, probabilities[token] > 0


def _first_beyond(weights: Float[Array, "N"], uniform: Float[Array, ""]) -> Int[Array, ""]:
  """The index that a uniform number of [0, 1) falls to, if each has a share by weight."""
  cumulative = jnp.cumsum(weights)
  beyond = jnp.sum(cumulative <= uniform * cumulative[-1])
  return jnp.minimum(beyond, weights.shape[0] - 1)
