"""Log-probability and entropy from hidden states, without the logits [B, T, V].

The computation goes over the vocabulary in blocks, in Pallas kernels on TPU and in XLA
elsewhere. The forward pass keeps a running maximum and running sums, like an online
softmax; the backward pass recomputes each block's logits and derives both gradients:

    d loss / d logits = g_logp (onehot - p) - g_H p (log p + H)

The temperature divides the float32 logits, as in sampling. Dividing the hidden states
instead would round the operands of the matrix product differently.

Tokens are not moved, so rows and time may be sharded in any way. Gradients are summed over
devices once; the kernels do so in a few large chunks. Devices that share the vocabulary
exchange four numbers per token, never logits.
"""

from collections.abc import Callable
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from empg_jax.core import explicit_mesh, fused_blocks, validation

# At module level, not in the functions that use it: the import loads Pallas, and from jax 0.11
# on loading Pallas invalidates everything traced before.
from empg_jax.kernels import hardware, token_stats
from empg_jax.types import Scalar, TokenStats


class _Plan(NamedTuple):
  """The static arguments."""

  blocks: int  # vocabulary blocks on each device
  dtype: str  # of the operands of the matrix products
  kernels: bool  # use the Pallas kernels where the hardware has them
  layout: explicit_mesh.VocabLayout | None


# hidden, unembedding, actions, scale; and each token's entropy, top logit and log of the sum.
_Saved = tuple[Array, Array, Array, Array, Array, Array, Array]
_Implementation = Callable[..., tuple[Array, ...]]  # in Pallas or in XLA


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
  """Computes `token_stats(hidden @ unembedding, actions)` in far less memory.

  Differentiable once and twice in `hidden`, `unembedding` and `temperature`, in reverse mode
  only: `jax.jvp` and `jax.jacfwd` raise TypeError (use `token_stats` for these). A token
  whose results have a zero cotangent adds nothing to any gradient, even if its hidden state
  is NaN or Inf, as padding may be: select results with `jnp.where(mask, x, 0)`, not `mask * x`.

  Args:
    hidden: the decoder's last hidden states.
    unembedding: the LM head; for tied embeddings [V, D] pass `embedding.T`.
    actions: token ids; `hidden[b, t]` predicts `actions[b, t]`. They may be
      anything where the result is not used.
    temperature: the policy is softmax(hidden @ unembedding / temperature).
    block_size: the number of vocabulary entries that XLA handles at a time on a device.
      None: chosen from the number of tokens, and on TPU by the kernels.
    compute_dtype: the dtype of the operands of the matrix products, which accumulate in
      float32. None: the operands' own. bfloat16 is up to twice as fast.

  Returns:
    (logprobs, entropy), float32, in nats.
  """
  validation.arrays(hidden=hidden, unembedding=unembedding)
  validation.scalars(temperature=temperature)
  if hidden.ndim != 3:
    raise ValueError(f"hidden has shape {hidden.shape}; it must be [B, T, D].")
  validation.integers("actions", actions)
  validation.shape("actions", actions, ("[B, T]", hidden.shape[:2]))
  if unembedding.ndim != 2 or unembedding.shape[0] != hidden.shape[2]:
    raise ValueError(
      f"unembedding has shape {unembedding.shape}; it must be [D, V] with"
      f" D = {hidden.shape[2]} as in hidden."
    )
  if not unembedding.shape[1]:
    raise ValueError(f"unembedding has shape {unembedding.shape}; V must be 1 or more.")
  if block_size is not None and block_size < 1:
    raise ValueError(f"block_size is {block_size}; it must be at least 1.")
  if not actions.size:
    return TokenStats(*(jnp.zeros_like(actions, jnp.float32) for _ in range(2)))
  dtype = compute_dtype or jnp.result_type(hidden, unembedding)
  actions = jnp.clip(actions, 0, unembedding.shape[1] - 1)
  layout = explicit_mesh.vocab_layout(hidden, unembedding)
  if layout is not None:
    hidden, actions = layout.place_tokens(hidden, actions)
  scale = 1 / jnp.asarray(temperature, jnp.float32)
  hidden, unembedding, actions, scale = explicit_mesh.varying_alike(
    hidden, unembedding, actions, scale
  )
  shards = (1, 1) if layout is None else layout.shards
  tokens = actions.size // shards[0]
  blocks = fused_blocks.count(tokens, unembedding.shape[1] // shards[1], block_size)
  plan = _Plan(blocks, jnp.dtype(dtype).name, block_size is None, layout)
  return TokenStats(*_stats(hidden, unembedding, actions, scale, plan))


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _stats(
  hidden: Array, unembedding: Array, actions: Array, scale: Array, plan: _Plan
) -> tuple[Array, Array]:
  return _stats_fwd(hidden, unembedding, actions, scale, plan)[0]


def _stats_fwd(
  hidden: Array, unembedding: Array, actions: Array, scale: Array, plan: _Plan
) -> tuple[tuple[Array, Array], _Saved]:
  f: _Implementation = functools.partial(_forward_on_shard, plan=plan)
  whole = unembedding
  if plan.layout is not None:
    f = plan.layout.on_shards(f, out=plan.layout.tokens)
    whole = plan.layout.gather(unembedding, plan.dtype)
  logprobs, entropy, top, log_total = f(hidden, whole, actions, scale)
  return (logprobs, entropy), (hidden, unembedding, actions, scale, entropy, top, log_total)


def _stats_bwd(
  plan: _Plan, saved: _Saved, cotangents: tuple[Array, Array]
) -> tuple[Array, Array, None, Array]:
  f: _Implementation = functools.partial(_backward_on_shard, plan=plan)
  hidden, unembedding, actions, scale, *of_token = _zero_unused(saved, cotangents)
  of_token += [scale * g for g in cotangents]
  if plan.layout is None:
    d_hidden, d_unembedding = f(hidden, unembedding, actions, scale, *of_token)
  else:
    f = plan.layout.on_shards(f, out=(plan.layout.hidden, plan.layout.d_unembedding))
    whole = plan.layout.gather(unembedding, plan.dtype)
    d_hidden, d_unembedding = f(hidden, whole, actions, scale, *of_token)
    d_unembedding = jax.reshard(d_unembedding, jax.typeof(unembedding).sharding)
  d_scale = jnp.sum(d_hidden * hidden.astype(jnp.float32)) / scale
  return d_hidden.astype(hidden.dtype), d_unembedding.astype(unembedding.dtype), None, d_scale


def _zero_unused(saved: _Saved, cotangents: tuple[Array, Array]) -> tuple[Array, ...]:
  """`saved` with zeros at tokens that overflowed (padding may) and whose results are unused.

  The product of their zero cotangents with NaN or Inf would make the whole gradient NaN.
  """
  hidden, unembedding, actions, scale, *of_token = saved
  unused = ~jnp.isfinite(sum(of_token)) & (cotangents[0] == 0) & (cotangents[1] == 0)
  hidden = jnp.where(unused[..., None], 0, hidden)
  return hidden, unembedding, actions, scale, *(jnp.where(unused, 0, x) for x in of_token)


_stats.defvjp(_stats_fwd, _stats_bwd)


def _forward_on_shard(
  hidden: Array, unembedding: Array, actions: Array, scale: Array, *, plan: _Plan
) -> tuple[Array, Array, Array, Array]:
  """(logprobs, entropy, top logit, log of the sum of exp(z - top)), each [B, T]."""
  actions = _local_actions(actions, unembedding.shape[1], plan)
  kernel = functools.partial(_sums_by_kernel, dtype=plan.dtype)
  xla = functools.partial(fused_blocks.sums, blocks=plan.blocks, dtype=plan.dtype)
  run = _on_platform if plan.kernels else _by_xla
  top, total, weighted, chosen = run(kernel, xla, hidden, unembedding, actions, scale)
  if plan.layout is not None:  # over the devices that share the vocabulary
    axes = plan.layout.vocab
    shift = top - jax.lax.pmax(jax.lax.stop_gradient(top), axes)  # any shift is correct
    total, weighted = fused_blocks.rescale(total, weighted, shift)
    top -= shift
    total, weighted, chosen = jax.lax.psum((total, weighted, chosen), axes)
  log_total = jnp.log(total)
  return (chosen - top) - log_total, log_total - weighted / total, top, log_total


def _backward_on_shard(
  hidden: Array, unembedding: Array, actions: Array, *rest: Array, plan: _Plan
) -> tuple[Array, Array]:
  """Gradients of hidden and unembedding; `rest` is as in `kernels.token_stats.gradients`."""
  actions = _local_actions(actions, unembedding.shape[1], plan)
  finish = _identity if plan.layout is None else plan.layout.sum_over_tokens
  kernel = functools.partial(_gradients_by_kernel, dtype=plan.dtype, finish=finish)
  xla = functools.partial(_gradients_by_xla, plan=plan, finish=finish)
  run = _on_platform if plan.kernels else _by_xla
  d_hidden, d_unembedding = run(kernel, xla, hidden, unembedding, actions, *rest)
  if plan.layout is not None:
    d_hidden = jax.lax.psum(d_hidden, plan.layout.vocab)
  return d_hidden, d_unembedding


def _identity(x: Array) -> Array:
  return x


def _on_platform(kernel: _Implementation, xla: _Implementation, *args: Array) -> tuple[Array, ...]:
  """Runs the Pallas or the XLA implementation, by the hardware."""

  @jax.custom_jvp
  def run(*args: Array) -> tuple[Array, ...]:
    chosen: tuple[Array, ...] = hardware.dispatch_loss(*args, kernels=kernel, blocks=xla)
    return chosen

  # A second derivative differentiates this function, and a kernel has no derivative.
  run.defjvp(lambda primals, tangents: jax.jvp(xla, primals, tangents))
  result: tuple[Array, ...] = run(*args)
  return result


def _by_xla(kernel: _Implementation, xla: _Implementation, *args: Array) -> tuple[Array, ...]:
  """Runs XLA on any hardware, in blocks of the given size."""
  return xla(*args)


def _sums_by_kernel(
  hidden: Array,
  unembedding: Array,
  actions: Array,
  scale: Array,
  *,
  dtype: str,
  interpret: bool = False,
) -> tuple[Array, ...]:
  operands = _flat(hidden.astype(dtype)), unembedding.T.astype(dtype)
  out = token_stats.sums(*operands, actions.reshape(-1), scale, interpret=interpret)
  return tuple(x.reshape(actions.shape) for x in out)


def _gradients_by_xla(
  *args: Array, plan: _Plan, finish: Callable[[Array], Array]
) -> tuple[Array, Array]:
  d_hidden, d_unembedding = fused_blocks.gradients(*args, blocks=plan.blocks, dtype=plan.dtype)
  return d_hidden, finish(d_unembedding)


def _gradients_by_kernel(
  hidden: Array,
  unembedding: Array,
  actions: Array,
  scale: Array,
  *of_token: Array,
  dtype: str,
  finish: Callable[[Array], Array],
  interpret: bool = False,
) -> tuple[Array, Array]:
  operands = _flat(hidden.astype(dtype)), unembedding.T.astype(dtype)
  flat = (x.reshape(-1) for x in of_token)
  d_hidden, d_rows = token_stats.gradients(
    *operands,
    actions.reshape(-1),
    scale,
    *flat,
    finish=lambda d_rows: finish(d_rows.T).T,
    interpret=interpret,
  )
  return d_hidden.reshape(hidden.shape), d_rows.T


def _flat(hidden: Array) -> Array:
  return hidden.reshape(-1, hidden.shape[2])


def _local_actions(actions: Array, vocab: int, plan: _Plan) -> Array:
  """Ids counted from this device's first vocabulary entry."""
  if plan.layout is None:
    return actions
  return actions - vocab * jax.lax.axis_index(plan.layout.vocab)
