"""Weights that are no numbers: counted, and named."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

_AT_ONCE = 2**20  # values, lest a large tensor take memory a second time
_NAMED = 5  # tensors in a message


def count_not_finite(values: np.ndarray) -> int:
  """How many of the values, of any shape and any type of float, are NaN or infinite."""
  flat = values.reshape(-1)
  pieces = (flat[at : at + _AT_ONCE] for at in range(0, flat.size, _AT_ONCE))
  return sum(map(_count, pieces))


def _count(values: np.ndarray) -> int:
  if values.dtype == jnp.bfloat16:  # whose own test takes four times as long
    return int(np.count_nonzero((values.view(np.uint16) & 0x7F80) == 0x7F80))
  return values.size - int(np.count_nonzero(np.isfinite(values)))


def named(counts: Mapping[str, int]) -> str:
  """`lm_head.weight (3), model.norm.weight (1)`; the first few of many."""
  told = [f"{name} ({count:,})" for name, count in list(counts.items())[:_NAMED]]
  more = len(counts) - len(told)
  return ", ".join(told) + (f" and {more} tensors more" if more else "")
