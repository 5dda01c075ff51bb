"""Paths as a user writes them: of a disk, or of a bucket, gs://BUCKET/FOLDER.

`of` gives the object that reads and lists either one: `pathlib.Path`, or `etils.epath.Path` for a
bucket. What writes goes through `write`, `placed` and `filled`, for a bucket has objects alone: no
folders, no renaming and no appending, but an object is there whole or not at all.
"""

from collections.abc import Iterator
import contextlib
import errno
import importlib.util
import os
import pathlib
import shutil
import tempfile

Path = pathlib.PurePath  # what `of` gives
BUCKET = "gs://"
_NEEDS = "a bucket needs the package gcsfs: pip install 'empg-jax[gcs]'"
_LIBRARIES = ("gcsfs", "google")  # few of their exceptions are OSErrors
_PIECE = 2**24  # bytes copied at once


class BucketError(OSError):
  """A bucket cannot be used."""

  def __str__(self) -> str:
    return f"{self.filename} cannot be used: {self.strerror}."


def expanded(path: str) -> str:
  """The path with a leading `~` or `~user` expanded to the home folder.

  A shell does not expand it in --workdir=~/runs. Raises ValueError if there is no such home, or
  if the path is an address of anything but a bucket.
  """
  if "://" in path and not in_bucket(path):
    raise ValueError(
      f"{path} is neither a path of a disk nor one of a bucket, {BUCKET}BUCKET/FOLDER."
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
  """The object for a path; what it has beside `pathlib.PurePath` is exists, is_file, is_dir,
  iterdir, open for reading, read_text, read_bytes and unlink.

  Raises:
    ImportError: it is in a bucket, and the package for that is not installed.
  """
  if not in_bucket(path):
    return pathlib.Path(path)
  if importlib.util.find_spec("gcsfs") is None:
    raise ImportError(f"{os.fspath(path)} cannot be used: {_NEEDS}")
  # One library for all buckets, also beside TensorFlow, and no question of a bucket's kind before
  # every call; and what another host wrote a moment ago is seen.
  os.environ.setdefault("EPATH_USE_TF", "false")
  os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
  from etils import epath
  import fsspec

  fsspec.config.conf.setdefault("gcs", {}).setdefault("use_listings_cache", False)
  return epath.Path(os.fspath(path))


def on_disk(path: str | os.PathLike, what: str) -> pathlib.Path:
  """A path that has to be of a disk, without ~. Raises ValueError if `what` names a bucket."""
  if in_bucket(path):
    raise ValueError(f"{what} is {path}, a bucket: give a folder on a disk.")
  return pathlib.Path(expanded(os.fspath(path)))


def from_root(path: str | os.PathLike) -> Path:
  """The object for a path, from the root of its disk or bucket."""
  return of(path) if in_bucket(path) else pathlib.Path(path).absolute()


def absolute(path: str) -> str:
  """The absolute path of an existing file or folder; other names unchanged."""
  if in_bucket(path):
    return path
  there = pathlib.Path(expanded(path))
  return str(there.absolute()) if path and there.exists() else path


def make_folder(folder: str | os.PathLike, mode: int = 0o777) -> None:
  """Makes a folder and those above it, if need be; a bucket has none to make."""
  if not in_bucket(folder):
    pathlib.Path(folder).mkdir(mode=mode, parents=True, exist_ok=True)


def entries(folder: str | os.PathLike) -> list[Path]:
  """What is in a folder, by name; nothing if there is no such folder."""
  try:
    return sorted(of(folder).iterdir())
  except (FileNotFoundError, NotADirectoryError):
    return []


def size(file: str | os.PathLike) -> int:
  """The bytes of a file; 0 if there is none."""
  try:
    found = of(file).stat()
  except FileNotFoundError:
    return 0
  return found.length if in_bucket(file) else found.st_size


def write(file: str | os.PathLike, content: str | bytes, *, whole: bool = True) -> None:
  """Writes a file, whole or not at all, also when several processes of one run do it.

  Without `whole` a disk's file is written in place, as a pipe or a device has to be.

  Raises:
    OSError: it cannot be written; what was there still is.
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
  """Yields a path on a disk; what is written there becomes `file`, whole or not at all.

  Raises:
    OSError: it cannot be written; what was there still is.
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
    partial.chmod(mode)  # safetensors makes files that nobody else may read
    partial.replace(file)
  except BaseException:
    with contextlib.suppress(OSError):
      partial.unlink(missing_ok=True)
    raise


@contextlib.contextmanager
def filled(folder: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Yields a folder on a disk; what is in it at the end is in `folder`, which is made if need be.

  For libraries that write several files and know of no buckets.
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
  """Removes a folder and all in it, if it is there."""
  if not in_bucket(folder):
    shutil.rmtree(folder, ignore_errors=True)
  else:
    with bucket_errors(folder):
      of(folder).rmtree(missing_ok=True)


@contextlib.contextmanager
def bucket_errors(path: str | os.PathLike) -> Iterator[None]:
  """In `with`, what a bucket's library raises becomes the OSError that a disk would raise."""
  try:
    yield
  except Exception as error:
    reason = bucket_fault(error)
    if reason is None:
      raise
    raise BucketError(errno.EIO, reason, os.fspath(path)) from error


def bucket_fault(error: BaseException) -> str | None:
  """What a bucket answered, in one line, if it was a bucket that an exception came from."""
  frame, inside = error.__traceback__, False
  while frame is not None and not inside:
    module = frame.tb_frame.f_globals.get("__name__", "")
    inside, frame = module.partition(".")[0] in _LIBRARIES, frame.tb_next
  if not inside:
    return None
  if isinstance(error, FileNotFoundError) or getattr(error, "code", None) == 404:
    return "there is no such bucket or object, or these credentials may not see it"
  return " ".join(str(error).split())[:300] or type(error).__name__
