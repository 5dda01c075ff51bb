"""Causal attention by cuDNN's kernel: scores stay on the chip, forward and backward."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_LENGTHS = 64  # of which the kernel's lengths are multiples; its backward pass takes no odd ones


def causal(
  q: Float[Array, "B T H D"],
  k: Float[Array, "B T K D"],
  v: Float[Array, "B T K D"],
  *,
  implementation: str = "cudnn",
) -> Float[Array, "B T H D"]:
  """Softmax attention of each token over the tokens up to itself; q is scaled already.

  Query heads come in groups of H / K, each group with a key/value head of its own; these
  are not repeated. A row is one episode (rollout.pack), so none is cut into segments.

  Args:
    q, k, v: 16-bit floats, D a multiple of 8.
    implementation: "xla" computes the same anywhere.
  """
  length = q.shape[1]
  # No token attends to what is padded behind it.
  more = -length % _LENGTHS
  q, k, v = (jnp.pad(x, ((0, 0), (0, more), (0, 0), (0, 0))) for x in (q, k, v))
  out = jax.nn.dot_product_attention(
    q, k, v, scale=1.0, is_causal=True, implementation=implementation
  )
  return out[:, :length]
