"""Things that are built on disk once and mapped into memory by all processes.

They are kept under $EMPG_JAX_CACHE, by default ~/.cache/empg_jax, in a folder each, named
after what it was made from, so that other sources make another one.
"""

from collections.abc import Callable, Iterable, Sequence
import fcntl
import hashlib
import json
import mmap
import os
import pathlib
import shutil
import tempfile
from typing import Any, TextIO

import numpy as np

from empg_jax.io import json_text, paths


def folder_for(environment: str, key: str) -> pathlib.Path:
  """Where an environment keeps what `key` stands for; ValueError if there is no home folder."""
  return _root() / environment / key


def _root() -> pathlib.Path:
  named = os.environ.get("EMPG_JAX_CACHE")
  try:
    if named:
      return pathlib.Path(paths.expanded(named))
    return pathlib.Path(paths.expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache")) / "empg_jax"
  except ValueError as error:
    raise ValueError(
      f"there is no place for the cache ({error}): set EMPG_JAX_CACHE to a folder that can be"
      " written."
    ) from error


def digest(paths: Iterable[pathlib.Path]) -> str:
  """What tells the files at `paths` from others, by name, size and time of change."""
  stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
  return hashlib.sha256(repr(stats).encode()).hexdigest()[:12]


def build_once(folder: pathlib.Path, build: Callable[[pathlib.Path], None]) -> None:
  """Calls `build` with an empty folder that becomes `folder`, unless that is there.

  Other processes wait meanwhile. What `build` raises leaves nothing behind.

  Raises:
    OSError: the cache cannot be written.
  """
  if folder.is_dir():  # so a cache that can only be read will do
    return
  with _lock(folder) as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if folder.is_dir():
      return
    draft = pathlib.Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
      build(draft)
      draft.rename(folder)
    finally:
      shutil.rmtree(draft, ignore_errors=True)


def _lock(folder: pathlib.Path) -> TextIO:
  try:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return open(f"{folder}.lock", "w")
  except OSError as error:
    raise OSError(
      f"the cache {folder.parent} cannot be written ({error.strerror}): set EMPG_JAX_CACHE to a"
      " folder that can."
    ) from error


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
