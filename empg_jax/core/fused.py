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

_KEPT_LOGITS = 2**24  # up to so many logits are kept for the backward pass;
_BLOCK_LOGITS = 2**22  # of more, only about so many exist at a time,
_MIN_BLOCK = 1024  # in blocks wide enough for fast matrix products
_LOW = -1e30  # below every logit, yet finite


class _Plan(NamedTuple):
  """What is fixed at trace time."""

  blocks: int
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
      chosen from the number of tokens. With one block for the whole vocabulary
      its logits are kept for the backward pass, which saves a quarter of the
      work.
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
  if block_size is None and tokens * vocab <= _KEPT_LOGITS:
    return 1
  size = block_size or max(_BLOCK_LOGITS // tokens, _MIN_BLOCK)
  return -(-vocab // min(size, vocab))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _stats(hidden, unembedding, actions, plan):
  return _forward(hidden, unembedding, actions, plan, keep_logits=False)[:2]


def _stats_fwd(hidden, unembedding, actions, plan):
  out = _forward(hidden, unembedding, actions, plan, keep_logits=plan.blocks == 1)
  return out[:2], (hidden, unembedding, actions, *out[1:])


def _forward(hidden, unembedding, actions, plan, keep_logits):
  """(logprobs, entropy, top, log of the sum of exp(z - top), logits or None)."""
  layout = plan.layout
  f = functools.partial(_forward_on_shard, plan=plan, keep_logits=keep_logits)
  if layout is None:
    return f(hidden, unembedding, actions)
  logits = layout.logits if keep_logits else None
  return layout.on_shards(f, out=(layout.tokens,) * 4 + (logits,))(
      hidden, unembedding, actions
  )


def _forward_on_shard(hidden, unembedding, actions, *, plan, keep_logits):
  hidden = hidden.astype(plan.dtype)
  vocab = unembedding.shape[1]
  actions = _local_actions(actions, vocab, plan)

  def block(carry, x):
    top, total, weighted, chosen = carry
    logits = _block_logits(hidden, *x, vocab, plan.blocks)
    new_top = jnp.maximum(top, jnp.max(logits, axis=-1))
    z = logits - new_top[..., None]
    p = jnp.exp(z)
    total, weighted = _rescale(total, weighted, top - new_top)
    total += jnp.sum(p, axis=-1)
    weighted += jnp.sum(p * z, axis=-1)
    here = (actions >= 0) & (actions < vocab) & (actions % plan.blocks == x[1])
    index = jnp.where(here, actions // plan.blocks, 0)[..., None]
    at_action = jnp.take_along_axis(logits, index, axis=-1)[..., 0]
    chosen = jnp.where(here, at_action, chosen)
    return (new_top, total, weighted, chosen), logits if keep_logits else None

  zeros = jnp.zeros(actions.shape, jnp.float32)
  (top, total, weighted, chosen), logits = jax.lax.scan(
      block, (zeros + _LOW, zeros, zeros, zeros), _blocks(unembedding, plan)
  )
  if plan.layout is not None:  # over the devices that share the vocabulary
    axes = plan.layout.vocab
    shift = top - jax.lax.pmax(top, axes)
    total, weighted = _rescale(total, weighted, shift)
    top -= shift
    total, weighted, chosen = jax.lax.psum((total, weighted, chosen), axes)
  log_total = jnp.log(total)
  logprobs = (chosen - top) - log_total
  entropy = log_total - weighted / total
  return logprobs, entropy, top, log_total, logits[0] if keep_logits else None


def _stats_bwd(plan, saved, cotangents):
  layout = plan.layout
  f = functools.partial(_backward_on_shard, plan=plan)
  if layout is not None:
    f = layout.on_shards(f, out=(layout.hidden, layout.unembedding))
  return *f(*saved, *cotangents), None


def _backward_on_shard(
    hidden, unembedding, actions, entropy, top, log_total, logits, g_logp, g_entropy,
    *, plan,
):  # fmt: skip
  vocab = unembedding.shape[1]
  actions = _local_actions(actions, vocab, plan)
  h = hidden.astype(plan.dtype)
  # Without the barriers XLA folds transposes into the matrix products, and on
  # CPU those are several times slower on bfloat16 operands.
  h_t = jax.lax.optimization_barrier(h.transpose(2, 0, 1))

  def block(d_hidden, x):
    columns, i = x
    z = _block_logits(h, columns, i, vocab, plan.blocks) if logits is None else logits
    log_p = (z - top[..., None]) - log_total[..., None]
    d = g_logp[..., None] + g_entropy[..., None] * (log_p + entropy[..., None])
    d *= -jnp.exp(log_p)
    index = jax.lax.broadcasted_iota(jnp.int32, (1, 1, z.shape[-1]), 2)
    is_action = index * plan.blocks + i == actions[..., None]
    d += jnp.where(is_action, g_logp[..., None], 0)
    d = jax.lax.optimization_barrier(d.astype(plan.dtype))
    rows = jax.lax.optimization_barrier(columns.T)
    return d_hidden + _product("btv,vd->btd", d, rows), _product("dbt,btv->dv", h_t, d)

  d_hidden, d_columns = jax.lax.scan(
      block, jnp.zeros(hidden.shape, jnp.float32), _blocks(unembedding, plan)
  )
  # Nor may it fold the transpose of a tied embedding's gradient into them.
  d_columns = jax.lax.optimization_barrier(d_columns)
  d_unembedding = d_columns.transpose(1, 2, 0).reshape(unembedding.shape[0], -1)
  d_unembedding = d_unembedding[:, :vocab]
  if plan.layout is not None:
    d_hidden = jax.lax.psum(d_hidden, plan.layout.vocab)
    d_unembedding = jax.lax.psum(d_unembedding, plan.layout.rows + plan.layout.time)
  return d_hidden.astype(hidden.dtype), d_unembedding.astype(unembedding.dtype)


_stats.defvjp(_stats_fwd, _stats_bwd)


def _product(subscripts, a, b):
  return jnp.einsum(subscripts, a, b, preferred_element_type=jnp.float32)


def _blocks(unembedding, plan):
  """Block i holds the columns i, i + n, ...: a sharded V stays sharded."""
  d, v = unembedding.shape
  n = plan.blocks
  columns = jnp.pad(unembedding.astype(plan.dtype), ((0, 0), (0, -v % n)))
  return columns.reshape(d, -1, n).transpose(2, 0, 1), jnp.arange(n)


def _block_logits(hidden, columns, i, vocab, blocks):
  logits = _product("btd,dv->btv", hidden, columns)
  if vocab % blocks == 0:
    return logits
  index = jax.lax.broadcasted_iota(jnp.int32, (1, 1, logits.shape[-1]), 2)
  return jnp.where(index * blocks + i < vocab, logits, _LOW)


def _rescale(total, weighted, shift):
  """Sum exp(z) and sum exp(z) z, for z that move by shift <= 0."""
  scale = jnp.exp(shift)
  return scale * total, scale * (weighted + shift * total)


def _local_actions(actions, vocab, plan):
  """Ids counted from this device's first vocabulary entry."""
  if plan.layout is None:
    return actions
  return actions - vocab * jax.lax.axis_index(plan.layout.vocab)


