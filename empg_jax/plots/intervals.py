"""Confidence intervals of shares."""

import numpy as np

_Z = 1.959964  # of 95%


def wilson(share: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The 95% score interval of shares of `n` independent trials (Wilson, 1927): low and high."""
  shrunk = 1 + _Z**2 / n
  centre = (share + _Z**2 / (2 * n)) / shrunk
  half = _Z / shrunk * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
  return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)
