"""Causal attention written out plainly, over whole score matrices."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def causal(
  q: Float[Array, "B T H D"], k: Float[Array, "B T K D"], v: Float[Array, "B T K D"]
) -> Float[Array, "B T H D"]:
  """Softmax attention of each token over the tokens up to itself; expects q already scaled."""
  groups = q.shape[2] // k.shape[2]
  k, v = (jnp.repeat(x, groups, axis=2) for x in (k, v))
  scores = jnp.einsum("bqhd,bshd->bhqs", q, k, preferred_element_type=jnp.float32)
  visible = jnp.tril(jnp.ones(scores.shape[2:], bool))[None, None]
  weights = jax.nn.softmax(jnp.where(visible, scores, -1e30))
  return jnp.einsum("bhqs,bshd->bqhd", weights, v)
