"""Rotary position embedding (arXiv 2104.09864), half-split as in Hugging Face."""

import dataclasses
import math

import jax.numpy as jnp
from jaxtyping import Array, Float, Int
import numpy as np


@dataclasses.dataclass(frozen=True)
class Llama3Scaling:
  """How Llama 3.1 and later reduce the low frequencies; names as in config.json."""

  factor: float
  low_freq_factor: float
  high_freq_factor: float
  original_max_position_embeddings: int

  def __post_init__(self):
    if not 0 < self.low_freq_factor < self.high_freq_factor:
      raise ValueError(
        f"The rope scaling has low_freq_factor {self.low_freq_factor} and high_freq_factor"
        f" {self.high_freq_factor}: the first must be above 0 and below the second."
      )


def frequencies(
  head_dim: int, theta: float, scaling: Llama3Scaling | None = None
) -> Float[np.ndarray, "H"]:
  """Radians per position of each of the head_dim / 2 pairs.

  With a scaling, frequencies of more than high_freq_factor turns in the original context are
  unchanged, those of less than low_freq_factor are divided by factor, and those between are
  interpolated.
  """
  half = head_dim // 2
  frequency = theta ** (-np.arange(half) / half)
  if scaling is not None:
    turns = scaling.original_max_position_embeddings * frequency / (2 * math.pi)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    kept = np.clip((turns - low) / (high - low), 0, 1)
    frequency = frequency * (kept + (1 - kept) / scaling.factor)
  return frequency.astype(np.float32)


def rotate(
  x: Float[Array, "B T N D"], positions: Int[Array, "B T"], frequency: Float[np.ndarray, "H"]
) -> Float[Array, "B T N D"]:
  """Rotates the pairs (i, i + D / 2) of each head by position x frequency."""
  angle = positions[..., None, None].astype(jnp.float32) * frequency[None, None, None, :]
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  x1, x2 = jnp.split(x, 2, axis=-1)
  return jnp.concatenate([x1 * cos - x2 * sin, x2 * cos + x1 * sin], axis=-1)
