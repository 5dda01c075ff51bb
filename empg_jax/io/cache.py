"""A cache on this host's disk, built once and shared by all its processes.

Each entry is a folder under $EMPG_JAX_CACHE, by default ~/.cache/empg_jax, named after its
sources, so that other sources give another entry.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import fcntl
import fnmatch
import functools
import hashlib
import os
import pathlib
import shutil
import tempfile
from typing import Any, TextIO

from empg_jax.io import paths


def folder_for(environment: str, key: str) -> pathlib.Path:
  """The folder of an environment's entry `key`; raises ValueError if there is no home folder."""
  return _root() / environment / key


def _root() -> pathlib.Path:
  named = os.environ.get("EMPG_JAX_CACHE")
  try:
    if named:
      return paths.on_disk(named, "EMPG_JAX_CACHE")
    shared = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return paths.on_disk(shared, "XDG_CACHE_HOME") / "empg_jax"
  except ValueError as error:
    raise ValueError(
      f"there is no place for the cache ({error}): set EMPG_JAX_CACHE to a folder that can be"
      " written."
    ) from error


def build_once(folder: pathlib.Path, build: Callable[[pathlib.Path], None]) -> None:
  """Calls `build` with an empty folder that becomes `folder`, unless that exists.

  Other processes wait for it. If `build` raises, nothing is left.

  Raises:
    OSError: the cache cannot be written.
  """
  if folder.is_dir():  # first, so that a read-only cache works
    return
  with one_at_a_time(folder):
    if folder.is_dir():
      return
    draft = pathlib.Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
      build(draft)
      draft.rename(folder)
    finally:
      shutil.rmtree(draft, ignore_errors=True)


@contextlib.contextmanager
def one_at_a_time(folder: pathlib.Path) -> Iterator[None]:
  """In `with`, locks a folder of the cache against the host's other processes.

  Raises:
    OSError: the cache cannot be written.
  """
  with _lock(folder) as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    yield


def _lock(folder: pathlib.Path) -> TextIO:
  try:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return open(f"{folder}.lock", "w")
  except OSError as error:
    raise OSError(
      f"the cache {folder.parent} cannot be written ({error.strerror}): set EMPG_JAX_CACHE to a"
      " folder that can."
    ) from error


def local(
  path: str | os.PathLike,
  progress: Callable[[str, int, str], Any],
  names: Sequence[str] = (),
) -> pathlib.Path:
  """A path on a disk: the path itself, or a copy of a bucket's folder or file.

  A host copies once for all its processes, and again when the bucket's objects have changed; a
  process keeps using its first copy.

  Args:
    path: of a folder or file.
    progress: console.Progress.
    names: patterns of the files needed from a bucket's folder: "*.json", "questions/*/*"; empty:
      all files in it and below.

  Raises:
    FileNotFoundError: there is no such file.
    OSError: it cannot be copied.
  """
  if not paths.in_bucket(path):
    return pathlib.Path(path)
  return _local(os.fspath(path), tuple(names), progress)


@functools.cache
def _local(
  path: str, names: tuple[str, ...], progress: Callable[[str, int, str], Any]
) -> pathlib.Path:
  source = paths.of(path)
  with paths.bucket_errors(path):
    found = _objects(source, names)
  if not found:
    raise FileNotFoundError(f"There is no {' or '.join(names) or 'file'} in {path}.")
  facts = [(name, about["size"], about["generation"]) for name, (_, about) in found.items()]
  key = hashlib.sha256(repr((path, facts)).encode()).hexdigest()[:12]
  folder = folder_for("buckets", f"{source.name}-{key}")

  def copy(draft: pathlib.Path) -> None:
    places = [draft / name for name in found]
    for place in places:
      place.parent.mkdir(parents=True, exist_ok=True)
    with paths.bucket_errors(path), progress(f"copying {path}", len(found), "files") as bar:
      _get([there for there, _ in found.values()], list(map(str, places)), bar.update)

  build_once(folder, copy)
  return folder / source.name if source.is_file() else folder


def _objects(source: paths.Path, names: Sequence[str]) -> dict[str, tuple[str, dict[str, Any]]]:
  """The object `source`, or those in that folder: {name: (path, metadata)}."""
  import fsspec

  home = os.fspath(source).removeprefix(paths.BUCKET)
  there = fsspec.filesystem("gcs").find(home, detail=True)
  found = {}
  for where, about in sorted(there.items()):
    name = where.removeprefix(home).strip("/")
    levels = [pattern for pattern in names if pattern.count("/") == name.count("/")]
    if not (names and name) or any(fnmatch.fnmatch(name, pattern) for pattern in levels):
      found[name or source.name] = where, about
  return found


def _get(there: list[str], places: list[str], done: Callable[[int], None]) -> None:
  """Copies objects in parallel."""
  import fsspec

  class Counting(fsspec.Callback):
    def relative_update(self, inc: int = 1) -> None:
      done(inc)

  fsspec.filesystem("gcs").get(there, places, callback=Counting())
