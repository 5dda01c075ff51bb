"""The TPU kernels of `core.fused`: sums over the vocabulary, and the gradient of the logits.

Both compute a tile of logits in VMEM and use it there. The first writes four numbers per
token, so no logits reach HBM. The second writes the gradient of one vocabulary chunk in the
operands' dtype, for XLA's matrix products to read: two kernels that computed the products
themselves would compute every logit twice.
"""

from collections.abc import Callable
import functools

import jax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

_LOW = -1e30  # below every logit, yet finite
_TOKENS, _VOCAB = 1024, 512  # per tile
_OPERANDS = 36 * 2**20  # bytes of VMEM for two tiles of each operand
_VMEM = 60 * 2**20  # bytes; all TPUs since v5 have more
_CHUNK = 2**28  # bytes of the logits' gradient at a time
_SCALAR = pl.BlockSpec(memory_space=pltpu.SMEM)


def sums(
  hidden: Float[Array, "N D"],
  rows: Float[Array, "V D"],
  actions: Int[Array, "N"],
  scale: Float[Array, ""],
  *,
  interpret: bool = False,
) -> tuple[Float[Array, "N"], Float[Array, "N"], Float[Array, "N"], Float[Array, "N"]]:
  """The sums behind log-probability and entropy, over the logits z = scale hidden @ rows.T.

  Args:
    hidden, rows: of one dtype, that of the products' operands; they accumulate in float32.
    actions: row indices; out of range, `chosen` is 0.
    scale: 1 / temperature; multiplies the float32 products, not the operands.
    interpret: run without a TPU.

  Returns:
    top = max z, total = sum exp(z - top), weighted = sum exp(z - top) (z - top), and
    chosen = z[action], all float32.
  """
  tokens, vocab = hidden.shape[0], rows.shape[0]
  size, width = _tile(hidden, rows)
  of_token = pl.BlockSpec((size, 1), lambda i, j: (i, 0))
  out = pl.pallas_call(
    functools.partial(_sums_kernel, vocab=vocab),
    grid=(pl.cdiv(tokens, size), pl.cdiv(vocab, width)),
    in_specs=[_SCALAR, *_operand_specs(size, width, hidden.shape[1]), of_token],
    out_specs=[of_token] * 4,
    out_shape=[_out((tokens, 1), jnp.float32, hidden)] * 4,
    compiler_params=_parameters("parallel", "arbitrary"),
    interpret=interpret,
    name="token_stats_sums",
  )(scale.reshape(1), hidden, rows, actions[:, None])
  return tuple(x[:, 0] for x in out)


def _sums_kernel(scale, hidden, rows, actions, top, total, weighted, chosen, *, vocab):
  block = pl.program_id(1)

  @pl.when(block == 0)
  def _():
    top[...] = jnp.full_like(top, _LOW)
    for ref in (total, weighted, chosen):
      ref[...] = jnp.zeros_like(ref)

  logits = _logits(scale, hidden, rows)
  ids = _ids(logits, block)
  real = ids < vocab  # entries past the edge may be anything
  logits = jnp.where(real, logits, _LOW)
  old_top = top[...]
  new_top = jnp.maximum(old_top, jnp.max(logits, axis=1, keepdims=True))
  z = logits - new_top
  p = jnp.exp(z)
  shift = old_top - new_top
  scale = jnp.exp(shift)
  weighted[...] = scale * (weighted[...] + shift * total[...]) + _over_vocab(p * z)
  total[...] = scale * total[...] + _over_vocab(p)
  chosen[...] += _over_vocab(jnp.where(real & (ids == actions[...]), logits, 0.0))
  top[...] = new_top


def gradients(
  hidden: Float[Array, "N D"],
  rows: Float[Array, "V D"],
  actions: Int[Array, "N"],
  scale: Float[Array, ""],
  entropy: Float[Array, "N"],
  top: Float[Array, "N"],
  log_total: Float[Array, "N"],
  g_logp: Float[Array, "N"],
  g_entropy: Float[Array, "N"],
  *,
  finish: Callable[[Array], Array],
  interpret: bool = False,
) -> tuple[Float[Array, "N D"], Float[Array, "V _"]]:
  """The gradients of `hidden` and `rows`, float32, over the vocabulary in chunks.

  Args:
    hidden, rows, actions, scale, interpret: as in `sums`.
    entropy, top, log_total: over the whole vocabulary, even if `rows` is a part of it.
    g_logp, g_entropy: cotangents of log-probability and entropy, times `scale`.
    finish: applied to each chunk [v, D] of the rows' gradient, such as a reduce-scatter over
      devices that leaves each a part of D: no device then holds the whole gradient.
  """
  vocab, width = rows.shape
  chunks = _count_chunks(hidden, vocab)
  size = -(-vocab // chunks)
  padded = jnp.pad(rows, ((0, chunks * size - vocab), (0, 0))).reshape(chunks, size, width)
  of_token = jnp.stack([entropy, top, log_total, g_logp, g_entropy], axis=1)

  def add(d_hidden, chunk):
    i, rows = chunk
    here = actions - i * size
    d = _logit_gradient(hidden, rows, here, scale, of_token, vocab - i * size, interpret)
    d_hidden += _product("nv,vd->nd", d, rows)
    return d_hidden, finish(_product("nv,nd->vd", d, hidden))

  zeros = jnp.zeros_like(hidden, jnp.float32)
  d_hidden, d_rows = jax.lax.scan(add, zeros, (jnp.arange(chunks), padded))
  return d_hidden, d_rows.reshape(chunks * size, -1)[:vocab]


def _count_chunks(hidden, vocab: int) -> int:
  """About the fewest chunks within the size limit, preferring those that pad least."""
  needed = -(-hidden.shape[0] * vocab * hidden.dtype.itemsize // _CHUNK)
  return min(range(needed, 2 * needed), key=lambda n: -vocab % n, default=1)


def _logit_gradient(hidden, rows, actions, scale, of_token, rest, interpret):
  """d loss / d (hidden @ rows.T) [N, V] of a chunk whose first `rest` rows are real."""
  tokens, vocab = hidden.shape[0], rows.shape[0]
  size, width = _tile(hidden, rows)
  by_token = lambda n: pl.BlockSpec((size, n), lambda i, j: (i, 0))
  return pl.pallas_call(
    _gradient_kernel,
    grid=(pl.cdiv(tokens, size), pl.cdiv(vocab, width)),
    in_specs=[
      _SCALAR,
      _SCALAR,
      *_operand_specs(size, width, hidden.shape[1]),
      by_token(1),
      by_token(of_token.shape[1]),
    ],
    out_specs=pl.BlockSpec((size, width), lambda i, j: (i, j)),
    out_shape=_out((tokens, vocab), hidden.dtype, hidden),
    compiler_params=_parameters("parallel", "parallel"),
    interpret=interpret,
    name="token_stats_gradient",
  )(rest.reshape(1), scale.reshape(1), hidden, rows, actions[:, None], of_token)


def _gradient_kernel(rest, scale, hidden, rows, actions, of_token, out):
  entropy, top, log_total, g_logp, g_entropy = (of_token[:, k : k + 1] for k in range(5))
  logits = _logits(scale, hidden, rows)
  ids = _ids(logits, pl.program_id(1))
  log_p = (logits - top) - log_total
  d = -jnp.exp(log_p) * (g_logp + g_entropy * (log_p + entropy))
  d += jnp.where(ids == actions[...], g_logp, 0.0)
  out[...] = jnp.where(ids < rest[0], d, 0.0).astype(out.dtype)


def _logits(scale, hidden, rows):
  contract_last = (((1,), (1,)), ((), ()))
  product = jax.lax.dot_general(
    hidden[...], rows[...], contract_last, preferred_element_type=jnp.float32
  )
  return scale[0] * product


def _ids(logits, block):
  """The row indices of a tile's columns."""
  width = logits.shape[1]
  return block * width + jax.lax.broadcasted_iota(jnp.int32, logits.shape, 1)


def _over_vocab(x):
  return jnp.sum(x, axis=1, keepdims=True)


def _tile(hidden, rows) -> tuple[int, int]:
  """Tokens and vocabulary entries per tile; as many tokens as fit in VMEM.

  Each tile of tokens reads the rows from HBM once.
  """
  column = 2 * hidden.shape[1] * hidden.dtype.itemsize
  size = _TOKENS
  while size > 128 and (size + _VOCAB) * column > _OPERANDS:
    size //= 2
  whole = lambda n, multiple: -(-n // multiple) * multiple
  return min(size, whole(hidden.shape[0], 16)), min(_VOCAB, whole(rows.shape[0], 128))


def _out(shape: tuple[int, ...], dtype, like: Array) -> jax.ShapeDtypeStruct:
  """The struct of an output that varies over the same manual mesh axes as `like`."""
  manual = jax.typeof(like).manual_axis_type
  return jax.ShapeDtypeStruct(shape, dtype, manual_axis_type=manual)


def _operand_specs(size: int, width: int, dim: int):
  return (
    pl.BlockSpec((size, dim), lambda i, j: (i, 0)),
    pl.BlockSpec((width, dim), lambda i, j: (j, 0)),
  )


def _parameters(*semantics: str) -> pltpu.CompilerParams:
  return pltpu.CompilerParams(dimension_semantics=semantics, vmem_limit_bytes=_VMEM)


def _product(subscripts, a, b):
  return jnp.einsum(subscripts, a, b, preferred_element_type=jnp.float32)
