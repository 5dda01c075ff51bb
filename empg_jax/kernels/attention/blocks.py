"""Causal attention in blocks of queries over their key prefix, in plain XLA."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from empg_jax.kernels.attention import products

BLOCK = 128


def causal(
  q: Float[Array, "B T H D"], k: Float[Array, "B T K D"], v: Float[Array, "B T K D"]
) -> Float[Array, "B T H D"]:
  """Softmax attention of each token over the tokens up to itself; expects q already scaled.

  Skips most of the scores above the diagonal.
  """
  batch, length, heads, dim = q.shape
  kv_heads = k.shape[2]
  q = q.reshape(batch, length, kv_heads, heads // kv_heads, dim).transpose(0, 2, 3, 1, 4)
  q = q.reshape(batch * kv_heads, heads // kv_heads, length, dim)
  k, v = products.flat_heads(k), products.flat_heads(v)
  blocks = []
  for start in range(0, length, BLOCK):
    stop = min(start + BLOCK, length)
    ahead = jnp.arange(stop)[None, :] > jnp.arange(start, stop)[:, None]
    blocks.append(_attend_block(q[:, :, start:stop], k[:, :stop], v[:, :stop], ahead))
  out = jnp.concatenate(blocks, axis=2).reshape(batch, kv_heads, -1, length, dim)
  return out.transpose(0, 3, 1, 2, 4).reshape(batch, length, heads, dim)


@jax.checkpoint  # recomputing the scores is cheaper than keeping them
def _attend_block(
  q: Float[Array, "N G Q D"],
  k: Float[Array, "N S D"],
  v: Float[Array, "N S D"],
  ahead: Bool[Array, "Q S"],
) -> Float[Array, "N G Q D"]:
  scores = products.scores(q.reshape(q.shape[0], -1, q.shape[-1]), k).reshape(*q.shape[:3], -1)
  scores = jnp.where(ahead[None, None], products.NEGATIVE, scores)
  weights = jax.nn.softmax(scores, axis=-1)
  return products.mix(weights.reshape(q.shape[0], -1, k.shape[1]), v).reshape(q.shape)
