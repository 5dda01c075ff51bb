"""Saves and loads a batch as plain arrays, so that an update can be run again."""

import dataclasses
import os
import zipfile

import numpy as np

from empg_jax.io import paths
from empg_jax.types import Batch

# Without `values`, which the update estimates itself.
_FIELDS = tuple(field.name for field in dataclasses.fields(Batch) if field.name != "values")
_FLOATS = ("behavior_logprobs", "behavior_entropy", "rewards", "returns")
MAX_BYTES = 2**33  # that `load` accepts
_BY_ROW = ("returns", "group_ids", "episode_ids")


def save(batch: Batch, path: str | os.PathLike) -> None:
  """Writes a numpy batch to an .npz file atomically; creates its folder."""
  paths.make_folder(paths.of(path).parent)
  with paths.placed(path) as partial, partial.open("wb") as file:
    np.savez_compressed(file, **{name: getattr(batch, name) for name in _FIELDS})


def load(path: str | os.PathLike) -> Batch:
  """Reads what `save` wrote.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is not such a file.
  """
  if not paths.of(path).is_file():
    raise FileNotFoundError(f"There is no batch {path}: a run keeps them in WORKDIR/skipped/")
  try:
    with paths.of(path).open("rb") as packed, zipfile.ZipFile(packed) as file:
      if (size := sum(entry.file_size for entry in file.infolist())) > MAX_BYTES:
        raise ValueError(f"it holds {size} bytes, more than {MAX_BYTES}")
    with paths.of(path).open("rb") as packed, np.load(packed, allow_pickle=False) as file:
      arrays = {name: file[name] for name in _FIELDS}
    B, T = arrays["tokens"].shape
  except Exception as error:  # NumPy and zipfile raise many types
    reason = " ".join(str(error).split()) or type(error).__name__
    raise ValueError(f"{path} is not a batch that a run kept: {reason}") from None
  for name, array in arrays.items():
    dtype = np.dtype(np.float32 if name in _FLOATS else np.int32)
    wanted = dtype, (B,) if name in _BY_ROW else (B, T)
    if (array.dtype, array.shape) != wanted:
      raise ValueError(
        f"{path} is not a batch that a run kept: its {name} are {array.dtype} {array.shape},"
        f" not {wanted[0]} {wanted[1]}"
      )
  return Batch(**arrays)
