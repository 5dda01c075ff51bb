"""The tensors of a checkpoint by Hugging Face's names, read slice by slice."""

import json
import math
import pathlib
from typing import Any, Protocol, runtime_checkable

import numpy as np
from safetensors import SafetensorError, safe_open

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_PIECE = 2**25  # bytes read at once
_LARGEST_JSON = 2**26  # bytes
_FLOATS = ("F64", "F32", "F16", "BF16")


@runtime_checkable
class Source(Protocol):
  """A checkpoint of one model."""

  config: dict[str, Any]  # its config.json
  shapes: dict[str, tuple[int, ...]]  # of each tensor
  faults: list[str]  # problems of the files themselves
  notes: list[str]  # warnings for the user

  def read(self, name: str, index: tuple[slice, ...], dtype: np.dtype) -> np.ndarray:
    """Reads a slice of a tensor and casts it."""


class Safetensors:
  """A folder with config.json and one safetensors file, or several and their index.

  Raises:
    ValueError: a file is not a complete safetensors file.
  """

  def __init__(self, folder: pathlib.Path):
    self.config = read_json(folder / "config.json")
    self.shapes, self.faults, self.notes = {}, [], []
    self._files: dict[str, pathlib.Path] = {}
    for file in files(folder):
      if not file.is_file():
        self.faults.append(f"the file {file.name} is missing")
        continue
      with _opened(file) as tensors:
        for name in tensors.keys():
          tensor = tensors.get_slice(name)
          if tensor.get_dtype() not in _FLOATS:
            self.faults.append(
              f"{ascii(name)[1:-1]} is of type {tensor.get_dtype()}, not of {', '.join(_FLOATS)}"
            )
          if name in self.shapes:
            self.faults.append(
              f"{ascii(name)[1:-1]} is set in {self._files[name].name} and in {file.name}"
            )
          self._files[name] = file
          self.shapes[name] = tuple(tensor.get_shape())

  def read(self, name: str, index: tuple[slice, ...], dtype: np.dtype) -> np.ndarray:
    limits = [s.indices(size)[:2] for s, size in zip(index, self.shapes[name])]
    out = np.empty([stop - start for start, stop in limits], dtype)
    columns = tuple(slice(*limit) for limit in limits[1:])
    rows = max(1, _PIECE // (8 * math.prod(out.shape[1:])))
    for at in range(0, len(out), rows):
      end = min(at + rows, len(out))
      # Pages read from an open file count as this process's memory: reopen it each time.
      with _opened(self._files[name]) as tensors:
        piece = slice(limits[0][0] + at, limits[0][0] + end)
        out[at:end] = tensors.get_slice(name)[(piece, *columns)]
    return out


def read_json(file: pathlib.Path) -> dict[str, Any]:
  """The object in a JSON file; raises ValueError if it holds none."""
  try:
    if file.stat().st_size > _LARGEST_JSON:
      raise ValueError(f"it is larger than {_LARGEST_JSON} bytes")
    value = json.loads(file.read_text(encoding="utf-8"))
  except (ValueError, RecursionError) as error:
    raise ValueError(f"{file} is not a JSON file ({error}): download or write it again.") from error
  if not isinstance(value, dict):
    raise ValueError(f"{file} holds no JSON object: download or write it again.")
  return value


def files(folder: pathlib.Path) -> list[pathlib.Path]:
  """The safetensors files of a folder, by name; raises ValueError if its index is damaged."""
  if not (folder / INDEX).is_file():
    return [folder / SINGLE]
  # Names only, so that an index cannot point outside its folder.
  places = read_json(folder / INDEX).get("weight_map")
  if not isinstance(places, dict) or not all(isinstance(x, str) for x in places.values()):
    raise ValueError(f"{folder / INDEX} has no weight_map of file names: download it again.")
  return [folder / pathlib.PurePosixPath(name).name for name in sorted(set(places.values()))]


def _opened(file: pathlib.Path):
  try:
    return safe_open(file, "numpy")
  except (SafetensorError, OSError) as error:
    raise ValueError(
      f"{file} is not a complete safetensors file ({error}): download or write it again."
    ) from error
