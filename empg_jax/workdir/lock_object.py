"""The lock of a workdir in a bucket: an object that is replaced only as it was seen last.

A bucket has no flock. It does replace an object on the condition that it is still of the
generation that a process has read, so of two runs that want the same lock one is refused.
"""

import contextlib
import json
import os
from typing import Any

from empg_jax.io import paths


class LockObject:
  """One object of a bucket, as one process sees it."""

  certain = False  # whether a holder that ended is known to have: no kernel lets go of it

  def __init__(self, path: paths.Path):
    """Raises OSError if the bucket cannot be used."""
    from google.cloud import storage  # takes a second; gcsfs needs it too

    bucket, _, name = os.fspath(path).removeprefix(paths.BUCKET).partition("/")
    self._path = path
    with paths.bucket_errors(path):
      self._blob = storage.Client().bucket(bucket).blob(name)
      self._generation = 0  # that `write` replaces; 0: there is none
      self._written = b""
      self._content()

  def read(self) -> dict[str, Any]:
    """What the holder wrote; nothing if there is none. Raises OSError if that cannot be known."""
    with paths.bucket_errors(self._path):
      content = self._content()
    try:
      found = json.loads(content)
    except (ValueError, RecursionError):
      return {}
    return found if isinstance(found, dict) else {}

  def write(self, line: str) -> None:
    """Replaces what was read last.

    Raises:
      BlockingIOError: another process has replaced it since.
      OSError: the bucket cannot be used.
    """
    from google.api_core import exceptions

    self._written = line.encode()
    with paths.bucket_errors(self._path):
      try:
        self._blob.upload_from_string(self._written, if_generation_match=self._generation)
        self._generation = self._blob.generation
      except exceptions.PreconditionFailed:
        # Unless it was this process's own try, whose answer got lost.
        if self._content() != self._written:
          raise BlockingIOError from None

  def release(self) -> None:
    """Removes the object, if it is still what this process wrote."""
    with contextlib.suppress(OSError), paths.bucket_errors(self._path):
      if self._content() == self._written:
        self._blob.delete(if_generation_match=self._generation)

  def close(self) -> None:
    """Leaves the object as it is."""

  def _content(self) -> bytes:
    """The object's bytes, whose generation is the one to replace."""
    from google.api_core import exceptions

    found = self._blob.bucket.get_blob(self._blob.name)
    self._generation = found.generation if found else 0
    try:
      return found.download_as_bytes(if_generation_match=self._generation) if found else b""
    except (exceptions.NotFound, exceptions.PreconditionFailed):
      return b""  # replaced at this moment: `write` will find out
