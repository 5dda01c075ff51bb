"""The XLA implementation of `core.fused`, over vocabulary blocks sized for the hardware."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from empg_jax.kernels import hardware

_WIDER = 4  # a block may be this many times as wide if it then divides the vocabulary
_LOW = -1e30  # below every logit, yet finite

Tokens = Float[Array, "B T"]
Index = Int[Array, ""]


def count(tokens: int, vocab: int, block_size: int | None) -> int:
  """The number of vocabulary blocks; a divisor of the vocabulary if one is near.

  Without a divisor, padding copies the unembedding.
  """
  here = hardware.current()
  size = block_size or max(here.loss_logits // tokens, here.loss_width)
  blocks = -(-vocab // min(size, vocab))
  fewest = blocks if block_size else -(-blocks // _WIDER)
  return next((n for n in range(blocks, fewest - 1, -1) if vocab % n == 0), blocks)


def sums(
  hidden: Float[Array, "B T D"],
  unembedding: Float[Array, "D V"],
  actions: Int[Array, "B T"],
  scale: Float[Array, ""],
  *,
  blocks: int,
  dtype: str,
) -> tuple[Tokens, Tokens, Tokens, Tokens]:
  """As `kernels.token_stats.sums`, with operands cast to `dtype` block by block."""
  vocab = unembedding.shape[1]
  rows, hidden = _blocks(unembedding, blocks), hidden.astype(dtype)

  def block(i: Index, carry: tuple[Tokens, ...]) -> tuple[Tokens, ...]:
    top, total, weighted, chosen = carry
    logits = _block_logits(hidden, _block(rows, i, dtype), scale, i, vocab, blocks)
    new_top = jnp.maximum(top, jnp.max(logits, axis=-1))
    z = logits - new_top[..., None]
    p = jnp.exp(z)
    total, weighted = rescale(total, weighted, top - new_top)
    total += jnp.sum(p, axis=-1)
    weighted += jnp.sum(p * z, axis=-1)
    here = (actions >= 0) & (actions < vocab) & (actions % blocks == i)
    index = jnp.where(here, actions // blocks, 0)[..., None]
    at_action = jnp.take_along_axis(logits, index, axis=-1)[..., 0]
    return new_top, total, weighted, jnp.where(here, at_action, chosen)

  zeros = jnp.zeros_like(actions, jnp.float32)
  carry = (zeros + _LOW, zeros, zeros, zeros)
  top, total, weighted, chosen = jax.lax.fori_loop(0, blocks, block, carry)
  return top, total, weighted, chosen


def gradients(
  hidden: Float[Array, "B T D"],
  unembedding: Float[Array, "D V"],
  actions: Int[Array, "B T"],
  scale: Float[Array, ""],
  entropy: Tokens,
  top: Tokens,
  log_total: Tokens,
  g_logp: Tokens,
  g_entropy: Tokens,
  *,
  blocks: int,
  dtype: str,
) -> tuple[Float[Array, "B T D"], Float[Array, "D V"]]:
  """As `kernels.token_stats.gradients`: of hidden and unembedding, in float32."""
  vocab = unembedding.shape[1]
  all_rows, h = _blocks(unembedding, blocks), hidden.astype(dtype)
  h_t = _barrier(h.transpose(2, 0, 1))

  def block(i: Index, carry: tuple[Array, Array]) -> tuple[Array, Array]:
    d_hidden, d_blocks = carry
    rows = _block(all_rows, i, dtype)
    z = _block_logits(h, rows, scale, i, vocab, blocks)
    log_p = (z - top[..., None]) - log_total[..., None]
    d = g_logp[..., None] + g_entropy[..., None] * (log_p + entropy[..., None])
    d *= -jnp.exp(log_p)
    is_action = _ids(z, i, blocks) == actions[..., None]
    d += jnp.where(is_action, g_logp[..., None], 0)
    d = _barrier(d.astype(dtype))
    d_hidden += _product("btv,vd->btd", d, rows)
    d_rows = _barrier(_product("dbt,btv->dv", h_t, d)).T
    d_blocks = jax.lax.dynamic_update_index_in_dim(d_blocks, d_rows, i, axis=1)
    return d_hidden, d_blocks

  carry = (jnp.zeros_like(hidden, jnp.float32), jnp.zeros_like(all_rows, jnp.float32))
  d_hidden, d_blocks = jax.lax.fori_loop(0, blocks, block, carry)
  return d_hidden, d_blocks.reshape(-1, hidden.shape[2])[:vocab].T


def rescale(total: Tokens, weighted: Tokens, shift: Tokens) -> tuple[Tokens, Tokens]:
  """Sum exp(z) and sum exp(z) z after z changes by shift <= 0."""
  scale = jnp.exp(shift)
  return scale * total, scale * (weighted + shift * total)


def _blocks(unembedding: Float[Array, "D V"], blocks: int) -> Float[Array, "W n D"]:
  """[V / n, n, D]: block i holds the tokens i, i + n, ...

  A sharded V stays sharded, and a tied embedding is not copied.
  """
  d, v = unembedding.shape
  rows = jnp.pad(unembedding.T, ((0, -v % blocks), (0, 0)))
  return rows.reshape(-1, blocks, d)


def _block(rows: Float[Array, "W n D"], i: Index, dtype: str) -> Float[Array, "W D"]:
  rows = jax.lax.dynamic_index_in_dim(rows, i, axis=1, keepdims=False)
  return _barrier(rows.astype(dtype))


def _block_logits(
  hidden: Float[Array, "B T D"],
  rows: Float[Array, "W D"],
  scale: Float[Array, ""],
  i: Index,
  vocab: int,
  blocks: int,
) -> Float[Array, "B T W"]:
  logits = scale * _product("btd,dv->btv", hidden, _barrier(rows.T))
  if vocab % blocks == 0:
    return logits
  return jnp.where(_ids(logits, i, blocks) < vocab, logits, _LOW)


def _ids(logits: Float[Array, "B T W"], i: Index, blocks: int) -> Int[Array, "1 1 W"]:
  """The token ids of block i, counted from this device's first."""
  index = jax.lax.broadcasted_iota(jnp.int32, (1, 1, logits.shape[-1]), 2)
  return index * blocks + i


def _product(subscripts: str, a: Array, b: Array) -> Array:
  return jnp.einsum(subscripts, a, b, preferred_element_type=jnp.float32)


def _barrier(x: Array) -> Array:
  """Keeps XLA from fusing the producer of x into the matrix product that reads it.

  On CPU, products of transposed bfloat16 operands are several times slower.
  """
  barred: Array = jax.lax.optimization_barrier(x)
  return barred
