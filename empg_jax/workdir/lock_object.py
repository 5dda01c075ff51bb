"""The lock of a workdir in a bucket: an object that is replaced only if it is unchanged.

A bucket has no flock, but it can replace an object on the condition that it still has the
generation that a process has read. Of two runs that take the same lock, one is refused.
"""

import contextlib
import json
import os
from typing import Any

from empg_jax.io import paths


class LockObject:
  """One object of a bucket, as seen by one process."""

  certain = False  # whether the lock of an ended process is released: there is no kernel to do so

  def __init__(self, path: paths.Path):
    """Raises OSError if the bucket cannot be used."""
    from google.cloud import storage  # takes a second; gcsfs needs it too

    bucket, _, name = os.fspath(path).removeprefix(paths.BUCKET).partition("/")
    self._path = path
    with paths.bucket_errors(path):
      self._blob = storage.Client().bucket(bucket).blob(name)
      self._generation = 0  # that `write` replaces; 0: no object
      self._written = b""
      self._content()

  def read(self) -> dict[str, Any]:
    """The holder's record; empty if there is none. Raises OSError if it cannot be read."""
    with paths.bucket_errors(self._path):
      content = self._content()
    try:
      found = json.loads(content)
    except (ValueError, RecursionError):
      return {}
    return found if isinstance(found, dict) else {}

  def write(self, line: str) -> None:
    """Replaces the content that was read last.

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
        # Unless an earlier attempt of this process succeeded and its response was lost.
        if self._content() != self._written:
          raise BlockingIOError from None

  def release(self) -> None:
    """Removes the object if it still has what this process wrote."""
    with contextlib.suppress(OSError), paths.bucket_errors(self._path):
      if self._content() == self._written:
        self._blob.delete(if_generation_match=self._generation)

  def close(self) -> None:
    """Leaves the object unchanged."""

  def _content(self) -> bytes:
    """The object's bytes; records their generation for `write`."""
    from google.api_core import exceptions

    found = self._blob.bucket.get_blob(self._blob.name)
    self._generation = found.generation if found else 0
    try:
      return found.download_as_bytes(if_generation_match=self._generation) if found else b""
    except (exceptions.NotFound, exceptions.PreconditionFailed):
      return b""  # replaced at this moment: `write` will fail
