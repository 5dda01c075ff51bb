"""The official ALFWorld games: the folder that ALFWORLD_DATA names, in its own layout.

    $ALFWORLD_DATA/json_2.1.1/<split>/<type-Object-Movable-Receptacle-Room>/<trial>/game.tw-pddl
"""

from collections.abc import Iterator, Mapping
import json
import os
import pathlib

_FILE = "game.tw-pddl"
_HINT = (
    "set ALFWORLD_DATA to the folder that holds json_2.1.1 (`alfworld-download` makes"
    " one), or play the embedded games with games='small' or games='full'"
)


class OfficialGames(Mapping):
  """The games of one split by `<type-..>/<trial>`; each is read when it is asked for.

  As in ALFWorld itself, trials with a sliced object or a movable receptacle, trials
  without a game file and unsolvable games are left out of the list.
  """

  def __init__(self, split: str):
    """FileNotFoundError if ALFWORLD_DATA names no folder with this split."""
    root = os.environ.get("ALFWORLD_DATA")
    if not root:
      raise FileNotFoundError(f"games='official' needs the official games: {_HINT}")
    self._folder = pathlib.Path(root).expanduser() / "json_2.1.1" / split
    if not self._folder.is_dir():
      raise FileNotFoundError(f"there is no folder {self._folder}: {_HINT}")

  def __getitem__(self, name: str) -> dict:
    """Reads one game. KeyError for an unknown name, ValueError for a broken file."""
    path = self._folder / name / _FILE
    if not path.is_file():
      raise KeyError(name)
    try:
      return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
      raise ValueError(
          f"cannot read the game {path} ({e}): restore or delete this file"
      ) from e

  def __iter__(self) -> Iterator[str]:
    """The names in order. FileNotFoundError if there is no game at all."""
    paths = self._folder.glob(f"*/*/{_FILE}")
    names = sorted(p.parent.relative_to(self._folder).as_posix() for p in paths)
    if not names:
      raise FileNotFoundError(f"the folder {self._folder} holds no {_FILE}: {_HINT}")
    for name in names:
      if "movable" in name or "Sliced" in name or not self._solvable(name):
        continue
      yield name

  def __len__(self) -> int:
    return sum(1 for _ in self)

  def _solvable(self, name: str) -> bool:
    """Reads only the end of the file, where `solvable` and the walkthrough stand."""
    with (self._folder / name / _FILE).open("rb") as f:
      f.seek(max(0, f.seek(0, os.SEEK_END) - 4096))
      return b'"solvable": false' not in f.read()
