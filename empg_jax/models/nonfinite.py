"""Counts and names weights that are NaN or infinite."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from empg_jax.io import words

_AT_ONCE = 2**20  # values, so that a large tensor is not copied whole
_NAMED = 5  # tensors in a message


def count_nonfinite(values: np.ndarray) -> int:
  """The number of values that are NaN or infinite; any shape and float dtype."""
  flat = values.reshape(-1)
  pieces = (flat[at : at + _AT_ONCE] for at in range(0, flat.size, _AT_ONCE))
  return sum(map(_count, pieces))


def _count(values: np.ndarray) -> int:
  if values.dtype == jnp.bfloat16:  # np.isfinite takes four times as long
    return int(np.count_nonzero((values.view(np.uint16) & 0x7F80) == 0x7F80))
  return values.size - int(np.count_nonzero(np.isfinite(values)))


def describe(counts: Mapping[str, int]) -> str:
  """`lm_head.weight (3), model.norm.weight (1)`; the first few of many."""
  listed = [f"{name} ({count:,})" for name, count in list(counts.items())[:_NAMED]]
  more = len(counts) - len(listed)
  return ", ".join(listed) + (f" and {words.count(more, 'more tensor')}" if more else "")
