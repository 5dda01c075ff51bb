"""Checks of what callers hand in: one sentence that names both sides."""

from jaxtyping import Array
import jax.numpy as jnp


def shape(name: str, x: Array, *wanted: tuple[str, tuple[int, ...]]) -> None:
  """Raises ValueError unless x has one of the wanted shapes.

  Args:
    name: what the caller knows x as.
    x: the array.
    *wanted: pairs of letters and sizes, such as ("[B, T]", (8, 512)).
  """
  if not any(x.shape == sizes for _, sizes in wanted):
    choices = " or ".join(f"{letters} = {sizes}" for letters, sizes in wanted)
    raise ValueError(f"{name} has shape {x.shape}; it must be {choices}.")


def integers(name: str, x: Array) -> None:
  """Raises TypeError unless x holds integers."""
  if not jnp.issubdtype(x.dtype, jnp.integer):
    raise TypeError(f"{name} has dtype {x.dtype}; it must hold integers.")
