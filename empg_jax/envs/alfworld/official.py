"""The official ALFWorld games: the folder that ALFWORLD_DATA names, in its own layout.

    $ALFWORLD_DATA/json_2.1.1/<split>/<type-Object-Movable-Receptacle-Room>/<trial>/game.tw-pddl

A game's name is `<type-..>/<trial>`.
"""

import contextlib
import os
import pathlib

from empg_jax.envs._shared import copies, json_files
from empg_jax.io import paths

_FILE = "game.tw-pddl"
_LARGEST = 1 << 23  # bytes
_HINT = (
  "set ALFWORLD_DATA to the folder that holds json_2.1.1 (`alfworld-download` makes"
  " one), or play the embedded games with games='small' or games='full'"
)


def names(split: str) -> list[str]:
  """The games of a split, in order.

  As in ALFWorld itself, trials with a sliced object or a movable receptacle, trials without a game
  file and unsolvable games are left out. A broken file is listed, and reading it raises an error.

  Raises:
    FileNotFoundError: ALFWORLD_DATA names no folder with games of this split.
  """
  folder = _folder(split)
  paths = sorted(folder.glob(f"*/*/{_FILE}"))
  if not paths:
    raise FileNotFoundError(f"the folder {folder} holds no {_FILE}: {_HINT}")
  found = (path.parent.relative_to(folder).as_posix() for path in paths)
  return [
    name
    for name in found
    if "movable" not in name and "Sliced" not in name and _is_solvable(folder / name / _FILE)
  ]


def read(split: str, name: str) -> dict:
  """Reads the dict of a game's file.

  Raises:
    FileNotFoundError: there is no such folder, or no such game in it.
    ValueError: the file is broken.
  """
  path = _folder(split) / name / _FILE
  if not path.is_file():
    raise FileNotFoundError(f"there is no game {path}: restore it or choose another task")
  try:
    return _content(path)
  except (OSError, ValueError) as e:
    raise ValueError(f"cannot read the game {path} ({e}): restore or delete this file") from e


def _folder(split: str) -> pathlib.Path:
  root = os.environ.get("ALFWORLD_DATA")
  if not root:
    raise FileNotFoundError(f"games='official' needs the official games: {_HINT}")
  home = copies.local(paths.expanded(root), [f"json_2.1.1/{split}/*/*/{_FILE}"])
  folder = home / "json_2.1.1" / split
  if not folder.is_dir():
    raise FileNotFoundError(f"there is no folder {folder}: {_HINT}")
  return folder


def _content(path: pathlib.Path) -> dict:
  if path.stat().st_size > _LARGEST:
    raise ValueError(f"more than {_LARGEST} bytes")
  game = json_files.value(path.read_bytes())
  if not isinstance(game, dict):
    raise ValueError("no JSON object")
  return game


def _is_solvable(path: pathlib.Path) -> bool:
  """Whether the file does not say otherwise."""
  with contextlib.suppress(OSError, ValueError):
    return bool(_content(path).get("solvable", True))
  return True
