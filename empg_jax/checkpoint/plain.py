"""Folders whose names Orbax and tensorstore take for something else.

Orbax looks for its files with patterns, in which the folder's own name is one too; tensorstore
reads a backslash as a slash; both read paths as UTF-8; and /gs/RUN is gs://RUN to them.
"""

import os
import pathlib
import re

_MISREAD = re.compile(r"[*?\[\\]|[\udc80-\udcff]|^/(?:gs|s3|az|hf)(?:/|$)")
_DESCRIPTORS = pathlib.Path("/proc/self/fd")  # of Linux


class PlainPath:
  """A folder, and a path to it that every library reads as it is.

  `path` is the folder's own where it can be. Elsewhere it leads through a descriptor that this
  process holds until `close`, on Linux, and the folder has to be there.

  Raises:
    ValueError: the folder's own path is misread, and this system has no other.
    OSError: the folder cannot be opened.
  """

  def __init__(self, folder: str | os.PathLike):
    self.folder = self.path = pathlib.Path(folder).absolute()
    self._descriptor: int | None = None
    if not _MISREAD.search(str(self.folder)):
      return
    if not _DESCRIPTORS.is_dir():
      raise ValueError(
        f"checkpoints cannot be kept in {self.folder}: on this system its path may hold none of"
        r" * ? [ \ and may not begin with /gs, /s3, /az or /hf; choose another --workdir."
      )
    self._descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
    self.path = _DESCRIPTORS / str(self._descriptor)

  def named(self, text: str) -> str:
    """A message about the folder, with its own path."""
    return text if self._descriptor is None else text.replace(str(self.path), str(self.folder))

  def close(self) -> None:
    if self._descriptor is not None:
      os.close(self._descriptor)
    self._descriptor = None

  def __enter__(self) -> "PlainPath":
    return self

  def __exit__(self, *_: object) -> None:
    self.close()
