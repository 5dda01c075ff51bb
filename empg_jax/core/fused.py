"""Log-probability and entropy from hidden states, without the logits [B, T, V].

The vocabulary is walked in blocks. Forward keeps a running maximum and sums, as
an online softmax does; backward makes each block's logits once more and forms
both gradients from them:

  d loss / d logits = g_logp (onehot - p) - g_H p (log p + H)

Tokens stay where they are, so rows and time may be sharded in any way, and
gradients are summed over devices once, not once a block.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from empg_jax.core import border
from empg_jax.core import placement
from empg_jax.types import Scalar, TokenStats

_BLOCK_LOGITS = 2**19  # so many at a time fit a CPU's cache; but blocks of at
_MIN_BLOCK = 512  # least this width, for fast matrix products
_LOW = -1e30  # below every logit, yet finite


class _Plan(NamedTuple):
  """What is fixed at trace time."""

  blocks: int  # of the vocabulary on each device
  dtype: str  # of the operands of the matrix products
  layout: placement.VocabLayout | None


@functools.partial(jax.jit, static_argnames=("block_size", "compute_dtype"))
def fused_token_stats(
    hidden: Float[Array, "B T D"],
    unembedding: Float[Array, "D V"],
    actions: Int[Array, "B T"],
    *,
    temperature: Scalar = 1.0,
    block_size: int | None = None,
    compute_dtype: jax.typing.DTypeLike | None = None,
) -> TokenStats:
  """As `token_stats(hidden @ unembedding, actions)`, in far less memory.

  Differentiable in `hidden`, `unembedding` and `temperature`.

  Args:
    hidden: the decoder's last hidden states.
    unembedding: the LM head; for tied embeddings [V, D] pass `embedding.T`.
    actions: token ids; `hidden[b, t]` predicts `actions[b, t]`. Where the
      result is not used they may be anything.
    temperature: the policy is softmax(hidden @ unembedding / temperature).
    block_size: how many vocabulary entries a device handles at a time. None:
      chosen from the number of tokens.
    compute_dtype: of the operands of the matrix products, which accumulate in
      float32. None: the operands' own. bfloat16 is up to twice as fast.

  Returns:
    (logprobs, entropy), float32, in nats.
  """
  if hidden.ndim != 3:
    raise ValueError(f"hidden has shape {hidden.shape}; it must be [B, T, D].")
  border.integers("actions", actions)
  border.shape("actions", actions, ("[B, T]", hidden.shape[:2]))
  if unembedding.ndim != 2 or unembedding.shape[0] != hidden.shape[2]:
    raise ValueError(
        f"unembedding has shape {unembedding.shape}; it must be [D, V] with"
        f" D = {hidden.shape[2]} as in hidden."
    )
  if block_size is not None and block_size < 1:
    raise ValueError(f"block_size is {block_size}; it must be at least 1.")
  dtype = compute_dtype or jnp.result_type(hidden, unembedding)
  actions = jnp.clip(actions, 0, unembedding.shape[1] - 1)
  layout = placement.vocab_layout(hidden, unembedding)
  if layout is not None:
    hidden, unembedding, actions = layout.place(hidden, unembedding, actions)
  hidden = hidden.astype(jnp.float32) / temperature
  shards = (1, 1) if layout is None else layout.shards
  tokens = actions.size // shards[0]
  blocks = _count_blocks(tokens, unembedding.shape[1] // shards[1], block_size)
  plan = _Plan(blocks, jnp.dtype(dtype).name, layout)
  return TokenStats(*_stats(hidden, unembedding, actions, plan))


def _count_blocks(tokens: int, vocab: int, block_size: int | None) -> int:
  size = block_size or max(_BLOCK_LOGITS // tokens, _MIN_BLOCK)
  return -(-vocab // min(size, vocab))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _stats(hidden, unembedding, actions, plan):
  return _stats_fwd(hidden, unembedding, actions, plan)[0]


def _stats_fwd(hidden, unembedding, actions, plan):
  f = functools.partial(_forward_on_shard, plan=plan)
  if plan.layout is not None:
    f = plan.layout.on_shards(f, out=plan.layout.tokens)
  out = f(hidden, unembedding, actions)
  return out[:2], (hidden, unembedding, actions, *out[1:])


def _stats_bwd(plan, saved, cotangents):
  f = functools.partial(_backward_on_shard, plan=plan)
  if plan.layout is not None:
    f = plan.layout.on_shards(f, out=(plan.layout.hidden, plan.layout.unembedding))
  return *f(*saved, *cotangents), None


_stats.defvjp(_stats_fwd, _stats_bwd)


def _forward_on_shard(hidden, unembedding, actions, *, plan):
  """(logprobs, entropy, top logit, log of the sum of exp(z - top)), each [B, T]."""
  vocab = unembedding.shape[1]
  actions = _local_actions(actions, vocab, plan)
  blocks, hidden = _blocks(unembedding, plan), hidden.astype(plan.dtype)

  def block(i, carry):
    top, total, weighted, chosen = carry
    logits = _block_logits(hidden, _block(blocks, i, plan), i, vocab, plan)
    new_top = jnp.maximum(top, jnp.max(logits, axis=-1))
    z = logits - new_top[..., None]
    p = jnp.exp(z)
    total, weighted = _rescale(total, weighted, top - new_top)
    total += jnp.sum(p, axis=-1)
    weighted += jnp.sum(p * z, axis=-1)
    here = (actions >= 0) & (actions < vocab) & (actions % plan.blocks == i)
    index = jnp.where(here, actions // plan.blocks, 0)[..., None]
    at_action = jnp.take_along_axis(logits, index, axis=-1)[..., 0]
    return new_top, total, weighted, jnp.where(here, at_action, chosen)

  zeros = jnp.zeros(actions.shape, jnp.float32)
  carry = (zeros + _LOW, zeros, zeros, zeros)
  top, total, weighted, chosen = jax.lax.fori_loop(0, plan.blocks, block, carry)
  if plan.layout is not None:  # over the devices that share the vocabulary
    axes = plan.layout.vocab
    shift = top - jax.lax.pmax(top, axes)
    total, weighted = _rescale(total, weighted, shift)
    top -= shift
    total, weighted, chosen = jax.lax.psum((total, weighted, chosen), axes)
  log_total = jnp.log(total)
  return (chosen - top) - log_total, log_total - weighted / total, top, log_total


def _backward_on_shard(
    hidden, unembedding, actions, entropy, top, log_total, g_logp, g_entropy, *, plan
):
  """The gradients of hidden and unembedding."""
  vocab = unembedding.shape[1]
  actions = _local_actions(actions, vocab, plan)
  blocks, h = _blocks(unembedding, plan), hidden.astype(plan.dtype)
  h_t = _kept(h.transpose(2, 0, 1))

  def block(i, carry):
    d_hidden, d_blocks = carry
    rows = _block(blocks, i, plan)
    z = _block_logits(h, rows, i, vocab, plan)
    log_p = (z - top[..., None]) - log_total[..., None]
    d = g_logp[..., None] + g_entropy[..., None] * (log_p + entropy[..., None])
    d *= -jnp.exp(log_p)
    is_action = _ids(z, i, plan) == actions[..., None]
    d += jnp.where(is_action, g_logp[..., None], 0)
    d = _kept(d.astype(plan.dtype))
    d_hidden += _product("btv,vd->btd", d, rows)
    d_rows = _kept(_product("dbt,btv->dv", h_t, d)).T
    d_blocks = jax.lax.dynamic_update_index_in_dim(d_blocks, d_rows, i, axis=1)
    return d_hidden, d_blocks

  carry = (jnp.zeros(hidden.shape, jnp.float32), jnp.zeros(blocks.shape, jnp.float32))
  d_hidden, d_blocks = jax.lax.fori_loop(0, plan.blocks, block, carry)
  d_unembedding = d_blocks.reshape(-1, hidden.shape[2])[:vocab].T
  if plan.layout is not None:
    d_hidden = jax.lax.psum(d_hidden, plan.layout.vocab)
    d_unembedding = jax.lax.psum(d_unembedding, plan.layout.rows + plan.layout.time)
  return d_hidden.astype(hidden.dtype), d_unembedding.astype(unembedding.dtype)


def _blocks(unembedding, plan):
  """[V / n, n, D]: block i holds the tokens i, i + n, ...

  So a sharded V stays sharded, and nothing is copied for a tied embedding.
  """
  d, v = unembedding.shape
  rows = jnp.pad(unembedding.T, ((0, -v % plan.blocks), (0, 0)))
  return rows.reshape(-1, plan.blocks, d)


def _block(blocks, i, plan):
  rows = jax.lax.dynamic_index_in_dim(blocks, i, axis=1, keepdims=False)
  return _kept(rows.astype(plan.dtype))


def _block_logits(hidden, rows, i, vocab, plan):
  logits = _product("btd,dv->btv", hidden, _kept(rows.T))
  if vocab % plan.blocks == 0:
    return logits
  return jnp.where(_ids(logits, i, plan) < vocab, logits, _LOW)


def _ids(logits, i, plan):
  """The token ids of block i, counted from this device's first."""
  index = jax.lax.broadcasted_iota(jnp.int32, (1, 1, logits.shape[-1]), 2)
  return index * plan.blocks + i


def _product(subscripts, a, b):
  return jnp.einsum(subscripts, a, b, preferred_element_type=jnp.float32)


def _kept(x):
  """Keeps XLA from folding what made x into the matrix product that reads it.

  On CPU products of transposed bfloat16 operands are several times slower.
  """
  return jax.lax.optimization_barrier(x)


def _rescale(total, weighted, shift):
  """Sum exp(z) and sum exp(z) z, for z that move by shift <= 0."""
  scale = jnp.exp(shift)
  return scale * total, scale * (weighted + shift * total)


def _local_actions(actions, vocab, plan):
  """Ids counted from this device's first vocabulary entry."""
  if plan.layout is None:
    return actions
  return actions - vocab * jax.lax.axis_index(plan.layout.vocab)
