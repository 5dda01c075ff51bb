"""Causal attention by cuDNN's kernel: scores stay on the chip, forward and backward."""

import jax
from jaxtyping import Array, Float


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
  return jax.nn.dot_product_attention(
      q, k, v, scale=1.0, is_causal=True, implementation=implementation
  )
