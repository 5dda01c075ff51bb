"""Causal attention in JAX's splash attention kernel: scores stay in VMEM, forward and backward."""

import jax
from jax.experimental.pallas.ops.tpu.splash_attention import (
  splash_attention_kernel as kernel,
  splash_attention_mask as masks,
)
import jax.numpy as jnp
from jaxtyping import Array, Float

_LANES = 128
_BLOCK = 512  # queries and keys per tile


def causal(
  q: Float[Array, "B T H D"],
  k: Float[Array, "B T K D"],
  v: Float[Array, "B T K D"],
  *,
  interpret: bool = False,
) -> Float[Array, "B T H D"]:
  """Softmax attention of each token over the tokens up to itself; expects q already scaled.

  Each group of H / K query heads shares a key/value head, which is not repeated. A row is one
  episode (rollout.pack), so there are no segments.
  """
  length, heads = q.shape[1:3]
  block = min(_BLOCK, -(-length // _LANES) * _LANES)
  padded = -(-length // block) * block
  attend = kernel.make_splash_mha(
    masks.MultiHeadMask([masks.CausalMask((padded, padded))] * heads),
    block_sizes=kernel.BlockSizes(
      block_q=block, block_kv=block, block_kv_compute=block,
      block_q_dkv=block, block_kv_dkv=block, block_kv_dkv_compute=block,
      block_q_dq=block, block_kv_dq=block,
    ),
    head_shards=1,
    q_seq_shards=1,
    interpret=interpret,
  )  # fmt: skip
  # No token attends to the padding after it.
  longer = lambda x: jnp.pad(x, ((0, 0), (0, padded - length), (0, 0), (0, 0)))
  q, k, v = (longer(x).swapaxes(1, 2) for x in (q, k, v))
  return jax.vmap(attend)(q, k, v).swapaxes(1, 2)[:, :length]
