"""Causal attention in cuDNN's kernel: scores stay on chip, forward and backward."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_LENGTHS = 64  # lengths are padded to a multiple; the kernel's backward pass refuses odd ones


def causal(
  q: Float[Array, "B T H D"],
  k: Float[Array, "B T K D"],
  v: Float[Array, "B T K D"],
  *,
  implementation: str = "cudnn",
) -> Float[Array, "B T H D"]:
  """Softmax attention of each token over the tokens up to itself; expects q already scaled.

  Each group of H / K query heads shares a key/value head, which is not repeated. A row is one
  episode (rollout.pack), so there are no segments.

  Args:
    q, k, v: 16-bit floats, D a multiple of 8.
    implementation: "xla" computes the same on any hardware.
  """
  length = q.shape[1]
  # No token attends to the padding after it.
  more = -length % _LENGTHS
  q, k, v = (jnp.pad(x, ((0, 0), (0, more), (0, 0), (0, 0))) for x in (q, k, v))
  out = jax.nn.dot_product_attention(
    q, k, v, scale=1.0, is_causal=True, implementation=implementation
  )
  return out[:, :length]
