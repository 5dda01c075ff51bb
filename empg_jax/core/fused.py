"""Log-probability and entropy from hidden states, without the logits [B, T, V]."""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from empg_jax.types import TokenStats


def fused_token_stats(
    hidden: Float[Array, "B T D"],
    unembedding: Float[Array, "D V"],
    actions: Int[Array, "B T"],
    *,
    temperature: Float[Array, ""] | float = 1.0,
    chunk_size: int = 512,
    compute_dtype: jax.typing.DTypeLike | None = None,
) -> TokenStats:
  """As `token_stats(hidden @ unembedding, actions)`, a chunk of tokens at a time."""
  b, t, d = hidden.shape
  hidden = hidden / temperature
  chunk_size = min(chunk_size, b * t)
  chunks = -(-b * t // chunk_size)
  pad = chunks * chunk_size - b * t
  flat = jnp.pad(hidden.reshape(-1, d), ((0, pad), (0, 0)))
  ids = jnp.pad(actions.reshape(-1), (0, pad))
  logprobs, entropy = _stats(
      flat.reshape(chunks, chunk_size, d), unembedding,
      ids.reshape(chunks, chunk_size), compute_dtype)
  return TokenStats(
      logprobs.reshape(-1)[: b * t].reshape(b, t),
      entropy.reshape(-1)[: b * t].reshape(b, t),
  )


def _logits(hidden, unembedding, dtype):
  return jnp.dot(
      hidden.astype(dtype or hidden.dtype), unembedding.astype(dtype or unembedding.dtype),
      preferred_element_type=jnp.float32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _stats(hidden, unembedding, actions, dtype):
  return _forward(hidden, unembedding, actions, dtype)[0]


def _forward(hidden, unembedding, actions, dtype):
  def chunk(_, x):
    h, a = x
    z = _logits(h, unembedding, dtype)
    z -= jnp.max(z, axis=1, keepdims=True)
    e = jnp.exp(z)
    total = jnp.sum(e, axis=1)
    log_total = jnp.log(total)
    entropy = log_total - jnp.sum(e * z, axis=1) / total
    chosen = a[:, None] == jax.lax.broadcasted_iota(jnp.int32, z.shape, 1)
    logprobs = jnp.sum(jnp.where(chosen, z, 0), axis=1) - log_total
    return None, (logprobs, entropy)
  _, out = jax.lax.scan(chunk, None, (hidden, actions))
  return out, (hidden, unembedding, actions, out[1])


def _backward(dtype, saved, cotangents):
  hidden, unembedding, actions, entropy = saved
  def chunk(d_unembedding, x):
    h, a, entropy, g_logp, g_entropy = x
    log_p = jax.nn.log_softmax(_logits(h, unembedding, dtype))
    p = jnp.exp(log_p)
    chosen = a[:, None] == jax.lax.broadcasted_iota(jnp.int32, p.shape, 1)
    d = jnp.where(chosen, g_logp[:, None], 0)
    d -= p * (g_logp[:, None] + g_entropy[:, None] * (log_p + entropy[:, None]))
    d_h = _logits(d, unembedding.T, dtype)
    d_unembedding += _logits(h.T, d, dtype)
    return d_unembedding, d_h
  zeros = jnp.zeros(unembedding.shape, jnp.float32)
  d_u, d_h = jax.lax.scan(chunk, zeros, (hidden, actions, entropy, *cotangents))
  return d_h.astype(hidden.dtype), d_u.astype(unembedding.dtype), None


_stats.defvjp(_forward, _backward)
