"""Copies of what is in a bucket, on a disk; numpy is not imported, as workers start faster."""

from collections.abc import Sequence
import os
import pathlib

from empg_jax.io import cache


def local(path: str | os.PathLike, names: Sequence[str] = ()) -> pathlib.Path:
  """A path on a disk, as io.cache.local."""
  from empg_jax import console  # most workers never need its libraries

  return cache.local(path, console.Progress, names)
