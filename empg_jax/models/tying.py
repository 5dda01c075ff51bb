"""Checks a language-model head that a checkpoint stores besides the embedding it is tied to."""

from collections.abc import Callable

import numpy as np

from empg_jax.models.source import Source

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
_ROWS = 1024  # compared at a time
_SAMPLED = 4096  # rows compared of a quantised head
_ALIKE = 0.99  # two quantisations of one matrix to 4 bits or more have a larger cosine


def faults(source: Source) -> list[str]:
  """The faults of the head of a tied model; empty if it equals the embedding.

  Args:
    source: has both.
  """
  shape = source.shapes[EMBEDDING]
  if source.shapes[HEAD] != shape:
    return [
      f"{HEAD} has shape {source.shapes[HEAD]}, and {EMBEDDING}, to which it is tied, {shape}"
    ]
  for start in range(0, shape[0], _ROWS):
    index = (slice(start, start + _ROWS), slice(None))
    embedding, head = (source.read(name, index, np.dtype("f4")) for name in (EMBEDDING, HEAD))
    if not np.array_equal(embedding, head, equal_nan=True):
      return [
        f"{HEAD} differs from {EMBEDDING}, to which it is tied (if both are meant, set"
        " tie_word_embeddings to false)"
      ]
  return []


def alike(
  embedding: Callable[[np.ndarray], np.ndarray], head: Callable[[np.ndarray], np.ndarray], rows: int
) -> bool:
  """Whether two matrices are quantisations of the same one.

  Args:
    embedding, head: each returns the float32 values [n, D] of the rows of given indices.
    rows: the number of rows. The cosine is over at most 4,096 of them, evenly spaced.
  """
  chosen = np.unique(np.linspace(0, rows - 1, min(rows, _SAMPLED)).astype(int))
  a, b = (x(chosen).astype(np.float64).ravel() for x in (embedding, head))
  return bool(a @ b > _ALIKE * np.sqrt((a @ a) * (b @ b)))
