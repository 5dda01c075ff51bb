"""Records that are written to disk once (io.cache) and mapped into memory by all processes."""

from collections.abc import Iterable, Sequence
import hashlib
import json
import mmap
import pathlib
from typing import Any

import numpy as np

from empg_jax.io import json_text


def digest(paths: Iterable[pathlib.Path]) -> str:
  """Identifies the files at `paths` by name, size and time of modification."""
  stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
  return hashlib.sha256(repr(stats).encode()).hexdigest()[:12]


class Writer:
  """Writes records: JSON lines, and where each ends."""

  def __init__(self, path: pathlib.Path):
    self._path, self._ends = path, []

  def __enter__(self) -> "Writer":
    self._file = self._path.with_suffix(".jsonl").open("wb")
    return self

  def __exit__(self, *_) -> None:
    self._file.write(b"\n")  # an empty file cannot be mapped
    self._file.close()
    np.save(self._path.with_suffix(".npy"), np.array(self._ends, np.int64))

  def add(self, record: Sequence[Any]) -> None:
    self._file.write(json_text.dumps(record, lossless=True).encode() + b"\n")
    self._ends.append(self._file.tell())


class Records:
  """What a `Writer` wrote, mapped into memory."""

  def __init__(self, path: pathlib.Path):
    with path.with_suffix(".jsonl").open("rb") as f:
      self._bytes = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    self._ends = np.load(path.with_suffix(".npy"), mmap_mode="r").view(np.ndarray)

  def __len__(self) -> int:
    return len(self._ends)

  def __getitem__(self, number: int) -> list[Any]:
    start = self._ends[number - 1] if number else 0
    return json.loads(self._bytes[start : self._ends[number]])
