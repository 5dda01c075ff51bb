"""Works around folder names that Orbax and tensorstore misread.

Orbax globs for its files, and characters of the folder's name count as patterns; tensorstore
reads a backslash as a slash; both read paths as UTF-8, and /gs/RUN as gs://RUN.
"""

import os
import pathlib
import re

from empg_jax.io import paths

_MISREAD = re.compile(r"[*?\[\\]|[\udc80-\udcff]|^/(?:gs|s3|az|hf)(?:/|$)")
_DESCRIPTORS = pathlib.Path("/proc/self/fd")  # of Linux


class LiteralPath:
  """A folder, and a path to it that all libraries read literally.

  `path` is the folder's own path where possible. Otherwise, on Linux, it goes through a file
  descriptor that is open until `close`; the folder must exist.

  Raises:
    ValueError: the folder's path is misread, and this system has no such descriptors.
    OSError: the folder cannot be opened.
  """

  def __init__(self, folder: str | os.PathLike):
    self.folder = self.path = paths.from_root(folder)
    self._descriptor: int | None = None
    if paths.in_bucket(folder) or not _MISREAD.search(str(self.folder)):
      return
    if not _DESCRIPTORS.is_dir():
      raise ValueError(
        f"checkpoints cannot be kept in {self.folder}: on this system its path may hold none of"
        r" * ? [ \ and may not begin with /gs, /s3, /az or /hf; choose another --workdir."
      )
    self._descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
    self.path = _DESCRIPTORS / str(self._descriptor)

  def named(self, text: str) -> str:
    """A message with `path` replaced by the folder's own path."""
    return text if self._descriptor is None else text.replace(str(self.path), str(self.folder))

  def close(self) -> None:
    if self._descriptor is not None:
      os.close(self._descriptor)
    self._descriptor = None

  def __enter__(self) -> "LiteralPath":
    return self

  def __exit__(self, *_: object) -> None:
    self.close()
