"""A language-model head that a checkpoint holds beside the embedding it is tied to."""

from collections.abc import Callable

import numpy as np

from empg_jax.models.source import Source

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
_ROWS = 1024  # compared at a time
_SAMPLED = 4096  # rows by which a quantised head is judged
_ALIKE = 0.99  # quantised to 4 bits or more, one matrix keeps a cosine above this


def faults(source: Source) -> list[str]:
  """What is wrong with the head of a tied model; nothing if it equals the embedding.

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
  """Whether two matrices are one that was quantised twice.

  Args:
    embedding, head: each gives the float32 values of its rows of these numbers, [n, D].
    rows: of either matrix. The cosine is taken over at most 4,096 of them, evenly spread.
  """
  chosen = np.unique(np.linspace(0, rows - 1, min(rows, _SAMPLED)).astype(int))
  a, b = (x(chosen).astype(np.float64).ravel() for x in (embedding, head))
  return bool(a @ b > _ALIKE * np.sqrt((a @ a) * (b @ b)))
