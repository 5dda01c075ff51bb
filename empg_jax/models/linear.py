"""The matrix product of all models, with the operand dtype chosen for the hardware."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def linear(
  x: Float[Array, "*batch I"], weight: Float[Array, "O I"], compute_dtype: jax.typing.DTypeLike
) -> Float[Array, "*batch O"]:
  """x @ weight.T with operands in `compute_dtype` and the sums in float32.

  The weight is [out, in], as checkpoints store it. The backward products use the same
  operand dtype: autodiff would mix float32 with bfloat16, which XLA computes in float32
  (on CPU at half the speed).
  """
  return _product("...i,oi->...o", x, weight, compute_dtype).astype(x.dtype)


def _product(equation: str, a: Array, b: Array, compute_dtype: jax.typing.DTypeLike) -> Array:
  return jnp.einsum(
    equation,
    a.astype(compute_dtype),
    b.astype(compute_dtype),
    preferred_element_type=jnp.float32,
  )


def _forward(x, weight, compute_dtype):
  # Save only the cast x, which the backward product reads; g has the dtype of x.
  return linear(x, weight, compute_dtype), (x.astype(compute_dtype), weight)


def _backward(compute_dtype, residuals, g):
  x, weight = residuals
  dx = _product("...o,oi->...i", g, weight, compute_dtype)
  dw = _product("...o,...i->oi", g, x, compute_dtype)
  return dx.astype(g.dtype), dw.astype(weight.dtype)


linear.defvjp(_forward, _backward)
