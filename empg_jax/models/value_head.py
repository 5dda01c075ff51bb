"""The value head: estimates the return from the decoder's last hidden state."""

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Float


class ValueHead(nnx.Module):
  """A linear map to a scalar, float32, initially 0."""

  def __init__(self, width: int):
    self.weight = nnx.Param(jnp.zeros(width))
    self.bias = nnx.Param(jnp.zeros(()))

  def __call__(self, hidden: Float[Array, "B T D"]) -> Float[Array, "B T"]:
    """The value after each token: of the state in which the next token is chosen."""
    hidden = hidden.astype(jnp.float32)
    return jnp.einsum("btd,d->bt", hidden, self.weight[...], precision="highest") + self.bias[...]
