"""Paths as a user writes them."""

import os
import pathlib


def expanded(path: str) -> str:
  """The path with a leading `~` or `~user` expanded to the home folder.

  A shell does not expand it in --workdir=~/runs. Raises ValueError if there is no such home.
  """
  found = os.path.expanduser(path)
  if path.startswith("~") and found == path:
    raise ValueError(
      f"there is no home folder {path.partition('/')[0]!r} of {path!r}: write ./{path} for a"
      " folder of that name."
    )
  return found


def absolute(path: str) -> str:
  """The absolute path of an existing file or folder; other names unchanged."""
  there = pathlib.Path(expanded(path))
  return str(there.absolute()) if path and there.exists() else path
