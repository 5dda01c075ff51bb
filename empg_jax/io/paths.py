"""Paths that users give: on a disk, or in a bucket, gs://BUCKET/FOLDER.

`of` returns the object that reads and lists either: `pathlib.Path`, or `etils.epath.Path` for a
bucket. Writers use `write`, `placed` and `filled`, because a bucket has only objects: no folders,
no renaming and no appending, but objects appear atomically.
"""

from collections.abc import Iterator
import contextlib
import errno
import importlib.util
import os
import pathlib
import shutil
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  Path = pathlib.Path
else:
  Path = pathlib.PurePath  # the result of `of`: epath's paths are not subclasses of pathlib.Path
BUCKET = "gs://"
_NEEDS = "a bucket needs the package gcsfs: pip install 'empg-jax[gcs]'"
_LIBRARIES = ("gcsfs", "google")  # most of their exceptions are not OSErrors
_PIECE = 2**24  # bytes copied at once


class BucketError(OSError):
  """A bucket cannot be used."""

  def __str__(self) -> str:
    return f"{self.filename} cannot be used: {self.strerror}."


def expanded(path: str) -> str:
  """The path with a leading `~` or `~user` expanded to the home folder.

  A shell does not expand it in --workdir=~/runs. Raises ValueError if there is no such home, or
  if the path is a URL of anything but a bucket.
  """
  if "://" in path and not in_bucket(path):
    raise ValueError(
      f"{path} is neither a path on a disk nor one in a bucket, {BUCKET}BUCKET/FOLDER."
    )
  found = os.path.expanduser(path)
  if path.startswith("~") and found == path:
    raise ValueError(
      f"there is no home folder {path.partition('/')[0]!r} of {path!r}: write ./{path} for a"
      " folder of that name."
    )
  return found


def in_bucket(path: str | os.PathLike) -> bool:
  """Whether a path begins with gs://."""
  return os.fspath(path).startswith(BUCKET)


def of(path: str | os.PathLike) -> Path:
  """The object for a path.

  Besides the methods of `pathlib.PurePath` it has exists, is_file, is_dir, iterdir, open (for
  reading), read_text, read_bytes and unlink.

  Raises:
    ImportError: the path is in a bucket, and the package for buckets is not installed.
  """
  if not in_bucket(path):
    return pathlib.Path(path)
  if importlib.util.find_spec("gcsfs") is None:
    raise ImportError(f"{os.fspath(path)} cannot be used: {_NEEDS}")
  # One library for all buckets, also if TensorFlow is installed; no query of the bucket's type
  # before every call; and no cached listings, so that other hosts' writes are seen at once.
  os.environ.setdefault("EPATH_USE_TF", "false")
  os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
  from etils import epath
  import fsspec

  fsspec.config.conf.setdefault("gcs", {}).setdefault("use_listings_cache", False)
  return epath.Path(os.fspath(path))


def on_disk(path: str | os.PathLike, what: str) -> pathlib.Path:
  """A path that must be on a disk, with ~ expanded; `what` is its name in the ValueError."""
  if in_bucket(path):
    raise ValueError(f"{what} is {path}, a bucket: give a folder on a disk.")
  return pathlib.Path(expanded(os.fspath(path)))


def from_root(path: str | os.PathLike) -> Path:
  """The object for the absolute path."""
  return of(path) if in_bucket(path) else pathlib.Path(path).absolute()


def absolute(path: str) -> str:
  """The absolute path of an existing file or folder; other names unchanged."""
  if in_bucket(path):
    return path
  there = pathlib.Path(expanded(path))
  return str(there.absolute()) if path and there.exists() else path


def make_folder(folder: str | os.PathLike, mode: int = 0o777) -> None:
  """Creates a folder and its parents if needed; does nothing in a bucket."""
  if not in_bucket(folder):
    pathlib.Path(folder).mkdir(mode=mode, parents=True, exist_ok=True)


def entries(folder: str | os.PathLike) -> list[Path]:
  """The entries of a folder, sorted; empty if there is no such folder."""
  try:
    return sorted(of(folder).iterdir())
  except (FileNotFoundError, NotADirectoryError):
    return []


def size(file: str | os.PathLike) -> int:
  """The size of a file in bytes; 0 if there is none."""
  try:
    found = of(file).stat()
  except FileNotFoundError:
    return 0
  return found.length if in_bucket(file) else found.st_size


def write(file: str | os.PathLike, content: str | bytes, *, whole: bool = True) -> None:
  """Writes a file atomically, even when several processes of one run do so.

  Without `whole`, writes a file on a disk in place, as pipes and devices need.

  Raises:
    OSError: it cannot be written; an existing file is unchanged.
  """
  content = content.encode() if isinstance(content, str) else content
  if in_bucket(file):
    with bucket_errors(file):
      of(file).write_bytes(content)
  elif whole:
    with placed(file) as partial:
      partial.write_bytes(content)
  else:
    pathlib.Path(file).write_bytes(content)


@contextlib.contextmanager
def placed(file: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Yields a path on a disk; the file written there becomes `file`, atomically.

  Raises:
    OSError: it cannot be written; an existing file is unchanged.
  """
  file = of(file)
  if in_bucket(file):
    with tempfile.TemporaryDirectory() as draft:
      partial = pathlib.Path(draft) / file.name
      yield partial
      _upload(partial, file)
    return
  partial = file.with_name(f"{file.name}.{os.getpid()}")
  try:
    partial.touch()
    mode = partial.stat().st_mode
    yield partial
    partial.chmod(mode)  # safetensors makes its files private
    partial.replace(file)
  except BaseException:
    with contextlib.suppress(OSError):
      partial.unlink(missing_ok=True)
    raise


@contextlib.contextmanager
def filled(folder: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Yields a folder on a disk whose files go to `folder`, which is created if needed.

  For libraries that write several files and do not support buckets.
  """
  folder = of(folder)
  if not in_bucket(folder):
    make_folder(folder)
    yield folder
    return
  with tempfile.TemporaryDirectory() as draft:
    yield pathlib.Path(draft)
    for file in sorted(path for path in pathlib.Path(draft).rglob("*") if path.is_file()):
      _upload(file, folder / file.relative_to(draft).as_posix())


def _upload(file: pathlib.Path, to: Path) -> None:
  with bucket_errors(to), file.open("rb") as content, to.open("wb") as out:
    shutil.copyfileobj(content, out, _PIECE)


def remove(folder: str | os.PathLike) -> None:
  """Removes a folder and its contents, if it exists."""
  if not in_bucket(folder):
    shutil.rmtree(folder, ignore_errors=True)
  else:
    with bucket_errors(folder):
      of(folder).rmtree(missing_ok=True)


@contextlib.contextmanager
def bucket_errors(path: str | os.PathLike) -> Iterator[None]:
  """In `with`, converts exceptions of a bucket's library to OSErrors, as a disk raises."""
  try:
    yield
  except Exception as error:
    reason = bucket_fault(error)
    if reason is None:
      raise
    raise BucketError(errno.EIO, reason, os.fspath(path)) from error


def bucket_fault(error: BaseException) -> str | None:
  """The message of an exception from a bucket's library, on one line; None for others."""
  frame, inside = error.__traceback__, False
  while frame is not None and not inside:
    module = frame.tb_frame.f_globals.get("__name__", "")
    inside, frame = module.partition(".")[0] in _LIBRARIES, frame.tb_next
  if not inside:
    return None
  if isinstance(error, FileNotFoundError) or getattr(error, "code", None) == 404:
    return "there is no such bucket or object, or these credentials may not see it"
  return " ".join(str(error).split())[:300] or type(error).__name__
