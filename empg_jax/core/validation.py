"""Checks of arguments; each error names what came and what is wanted.

They check shapes and dtypes only: under jit there are no values.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
import numpy as np


def arrays(**named: Any) -> None:
  """Raises TypeError for the first that is a list, a tuple or a number; accepts None."""
  for name, x in named.items():
    if x is not None and not hasattr(x, "shape"):
      raise TypeError(
        f"{name} is a {type(x).__name__}; it must be an array: jnp.asarray({name}) makes one."
      )


def scalars(**named: Any) -> None:
  """Raises for the first that is not a number: TypeError for a list, ValueError for an array."""
  for name, x in named.items():
    if isinstance(x, (list, tuple, dict, set)):
      raise TypeError(f"{name} is a {type(x).__name__}; it must be a number.")
    if np.shape(x):
      raise ValueError(
        f"{name} has shape {np.shape(x)}; it must be a number, one for the whole batch."
      )


def shape(name: str, x: Array, *wanted: tuple[str, tuple[int, ...]]) -> None:
  """Raises ValueError unless x has one of the wanted shapes.

  Args:
    name: the argument's name.
    x: the array.
    *wanted: pairs of axis names and sizes, such as ("[B, T]", (8, 512)).
  """
  arrays(**{name: x})
  if not any(x.shape == sizes for _, sizes in wanted):
    choices = " or ".join(f"{letters} = {sizes}" for letters, sizes in wanted)
    raise ValueError(f"{name} has shape {x.shape}; it must be {choices}.")


def integers(name: str, x: Array) -> None:
  """Raises TypeError unless x holds integers."""
  arrays(**{name: x})
  if not jnp.issubdtype(x.dtype, jnp.integer):
    raise TypeError(f"{name} has dtype {x.dtype}; it must hold integers.")


def ids(name: str, x: Array, rows: int) -> None:
  """Raises unless x holds one integer per row."""
  integers(name, x)
  shape(name, x, ("[B]", (rows,)))


def logits(x: Array) -> None:
  """Raises unless x is [B, T, V] with V of 1 or more."""
  arrays(logits=x)
  if x.ndim != 3:
    raise ValueError(f"logits has shape {x.shape}; it must be [B, T, V].")
  if not x.shape[2]:
    raise ValueError(f"logits has shape {x.shape}; it must be [B, T, V] with V of 1 or more.")
