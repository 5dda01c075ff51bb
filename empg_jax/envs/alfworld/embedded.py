"""The ALFWorld games that ship with the package: sets "small" and "full", three splits each.

    games = load("small", "valid_unseen")     # a mapping: name -> content of its game file

All are genuine and solvable, and no two are alike; valid_unseen plays in the four rooms
that ALFWorld holds out, train and valid_seen in the others. Task types have the shares
they have in ALFWorld's own splits. The games are stored compactly and expanded on
access. This makes both files again:

    python -m empg_jax.envs.alfworld games
"""

from collections.abc import Iterator, Mapping
import functools
import json
import lzma
import pathlib
import random
from typing import Any

from empg_jax.envs.alfworld.engine import Engine
from empg_jax.envs.alfworld.game import parse_game
from empg_jax.envs.alfworld.generate import Spec, Thing, draw
from empg_jax.envs.alfworld.problem import game, name
from empg_jax.envs.alfworld.rooms import TASK_TYPES, TRAIN_ROOMS, UNSEEN_ROOMS
from empg_jax.io import json_text

FOLDER = pathlib.Path(__file__).parent / "assets"
SETS = ("small", "full")
SPLITS = {  # split -> its rooms, and its number of games of each of the TASK_TYPES
  "train": (TRAIN_ROOMS, (445, 173, 366, 258, 300, 458)),
  "valid_seen": (TRAIN_ROOMS, (35, 13, 27, 16, 25, 24)),
  "valid_unseen": (UNSEEN_ROOMS, (24, 18, 31, 23, 21, 17)),
}


class Games(Mapping[str, dict[str, Any]]):
  """Game dicts by name, expanded from their specs on access."""

  def __init__(self, specs: dict[str, Spec]):
    self.specs = specs

  def __getitem__(self, key: str) -> dict[str, Any]:
    return game(self.specs[key])

  def __iter__(self) -> Iterator[str]:
    return iter(self.specs)

  def __len__(self) -> int:
    return len(self.specs)


@functools.cache
def load(games: str, split: str) -> Games:
  """The embedded games of a set and split by name; names never change.

  Raises:
    ValueError: there is no such set or split.
  """
  if games not in SETS:
    raise ValueError(f"Unknown set of embedded games {games!r}: use one of {SETS}.")
  if split not in SPLITS:
    raise ValueError(f"Unknown split {split!r}: use one of {tuple(SPLITS)}.")
  stored = _read(games)
  first = 10**7 * list(SPLITS).index(split)  # so that no trial's name occurs in two splits
  specs = [_unpacked(row, stored["types"]) for row in stored[split]]
  return Games({name(spec, f"trial_G{first + i:08d}"): spec for i, spec in enumerate(specs)})


@functools.cache
def validation_contents() -> frozenset[tuple]:
  """The contents of all validation games, which no training game may have."""
  return frozenset(
    spec.content()
    for games in SETS
    for split in ("valid_seen", "valid_unseen")
    for spec in load(games, split).specs.values()
  )


def make() -> dict[str, dict[str, Any]]:
  """Draws both sets: the content of each one's file. No two games are alike."""
  used: set[tuple] = set()
  sets = {}
  for games in SETS:
    splits = {}
    # Validation first, so that a training game which equals one of them is left out.
    for split in ("valid_unseen", "valid_seen", "train"):
      rooms, counts = SPLITS[split]
      wanted = [t for t, n in zip(TASK_TYPES, counts, strict=True) for _ in range(n)]
      random.Random(0).shuffle(wanted)
      specs, index = [], 0
      while len(specs) < len(wanted):
        spec = draw(f"embedded/{split}", index, games, rooms, wanted[len(specs)])
        index += 1
        if spec.content() not in used:
          used.add(spec.content())
          specs.append(spec)
      splits[split] = specs
    sets[games] = _packed(splits)
  return sets


def is_won_by_walkthrough(record: Mapping[str, Any]) -> bool:
  """Whether the game's walkthrough wins it with its last command."""
  engine = Engine(parse_game(record))
  wins = []
  for command in record["walkthrough"]:
    if command not in engine.commands:
      return False
    engine.step(command)
    wins.append(engine.won())
  return wins[-1] and not any(wins[:-1])


def _packed(splits: dict[str, list[Spec]]) -> dict[str, Any]:
  """Plain lists of numbers, with one table of type names."""
  types = sorted(
    {
      type
      for specs in splits.values()
      for spec in specs
      for type in (spec.object, spec.target, *(thing.type for thing in spec.things))
    }
  )
  number = {type: i for i, type in enumerate(types)}
  row = lambda spec: [
    TASK_TYPES.index(spec.task),
    spec.room,
    number[spec.object],
    number[spec.target],
    spec.sentence,
    spec.start,
    spec.receptacles,
    [x for t in spec.things for x in (number[t.type], t.receptacle, t.jitter)],
  ]
  return {"types": types, **{split: list(map(row, splits[split])) for split in SPLITS}}


def _unpacked(row: list[Any], types: list[str]) -> Spec:
  task, room, object, target, sentence, start, receptacles, flat = row
  things = tuple(
    Thing(types[type], receptacle, jitter)
    for type, receptacle, jitter in zip(flat[::3], flat[1::3], flat[2::3], strict=True)
  )
  return Spec(
    TASK_TYPES[task],
    room,
    types[object],
    types[target],
    sentence,
    tuple(start),
    tuple(receptacles),
    things,
  )


def _file(games: str) -> pathlib.Path:
  return FOLDER / f"games_{games}.json.xz"


@functools.cache
def _read(games: str) -> dict[str, Any]:
  return json.loads(lzma.decompress(_file(games).read_bytes()))


def main() -> None:
  """Draws the games anew, writes both files, and plays every walkthrough."""
  for games, stored in make().items():
    text = json_text.dumps(stored, separators=(",", ":"))
    _file(games).write_bytes(lzma.compress(text.encode(), preset=9))
  for games in SETS:
    print(f"{_file(games)}: {_file(games).stat().st_size:,} bytes")
    for split in SPLITS:
      records = load(games, split)
      lost = [key for key in records if not is_won_by_walkthrough(records[key])]
      if lost:
        raise RuntimeError(f"{games}/{split}: walkthroughs do not win {lost}")
      print(f"  {split}: {len(records)} games, all won by their walkthroughs")
