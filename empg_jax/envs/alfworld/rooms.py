"""Facts about ALFWorld's 120 rooms: receptacles, objects, what may hold what, tasks.

The facts ship as `assets/rooms.json.xz` and need only the standard library to
read. They are derived from the MIT-licensed `alfworld` package (assets/README.md); with
that package installed, this makes them again:

    python -m empg_jax.envs.alfworld rooms
"""

import functools
import importlib.util
import json
import lzma
import pathlib
import random
import runpy
from typing import Any, NamedTuple

from empg_jax.io import json_text

FACTS_FILE = pathlib.Path(__file__).parent / "assets" / "rooms.json.xz"

KITCHENS, LIVING_ROOMS, BEDROOMS, BATHROOMS = (
  range(first, first + 30) for first in (1, 201, 301, 401)
)
ROOMS = (*KITCHENS, *LIVING_ROOMS, *BEDROOMS, *BATHROOMS)
UNSEEN_ROOMS = (10, 219, 308, 424)  # held out by ALFWorld as the valid_unseen split
TRAIN_ROOMS = tuple(room for room in ROOMS if room not in UNSEEN_ROOMS)

TASK_TYPES = (
  "pick_and_place_simple",
  "look_at_obj_in_light",
  "pick_clean_then_place_in_recep",
  "pick_heat_then_place_in_recep",
  "pick_cool_then_place_in_recep",
  "pick_two_obj_and_place",
)

# Fixtures of a room for which the package lists no position, and how many of them such a
# room has. Their positions are invented, the same ones every time.
_FIXTURES = {
  "StoveBurner": 4,
  "GarbageCan": 1,
  "CoffeeMachine": 1,
  "Toaster": 1,
  "Toilet": 1,
  "HandTowelHolder": 1,
  "TowelHolder": 1,
  "ToiletPaperHanger": 1,
  "LaundryHamper": 1,
  "SinkBasin": 1,
  "Ottoman": 1,
  "Safe": 1,
}


class Receptacle(NamedTuple):
  """A piece of furniture: its id, its type and where the agent stands to reach it."""

  id: str  # "Cabinet|+00.65|+00.48|-01.72"
  type: str  # "Cabinet"
  location: tuple[int, int, int, int]  # x, z in quarters of a metre, quarter turns, tilt

  @property
  def position(self) -> tuple[float, float, float]:
    """x, y, z in metres, from the id."""
    x, y, z = self.id.split("|")[1:4]
    return float(x), float(y), float(z)


class Room(NamedTuple):
  receptacles: tuple[Receptacle, ...]
  objects: frozenset[str]  # types of everything that the room may hold


class Facts(NamedTuple):
  rooms: dict[int, Room]
  contains: dict[str, frozenset[str]]  # receptacle type -> types of objects it may hold
  properties: dict[str, frozenset[str]]  # "openable", "heatable", .. -> types
  sentences: dict[str, tuple[str, ...]]  # task type -> templates of the task sentence
  goals: dict[str, str]  # task type -> template of the PDDL goal


@functools.cache
def facts() -> Facts:
  """The shipped facts, read once."""
  raw = json.loads(lzma.decompress(FACTS_FILE.read_bytes()))
  frozen = lambda table: {key: frozenset(values) for key, values in table.items()}
  rooms = {
    int(number): Room(
      tuple(Receptacle(id, type, tuple(at)) for id, type, at in room["receptacles"]),
      frozenset(room["objects"]),
    )
    for number, room in raw["rooms"].items()
  }
  sentences = {task: tuple(texts) for task, texts in raw["sentences"].items()}
  properties = frozen(raw["properties"])
  return Facts(rooms, frozen(raw["contains"]), properties, sentences, raw["goals"])


def signed(value: float) -> str:
  """A coordinate as ALFWorld writes it into ids: +01.23."""
  return ("-" if value < 0 else "+") + f"{abs(value):05.2f}"


def _type_of(id: str) -> str:
  if id.startswith("Bathtub|"):  # the tub of room 420 is labelled as a sink
    return "BathtubBasin"
  basin = next((b for b in ("SinkBasin", "BathtubBasin") if id.endswith(b)), None)
  return basin or id.split("|")[0]


def _fixtures(number: int, missing: set[str]) -> list[tuple[str, str, list[int]]]:
  """Receptacles with invented positions for the fixtures that `missing` names."""
  rng = random.Random(number)
  made = []
  for type in sorted(missing & set(_FIXTURES)):
    for _ in range(_FIXTURES[type]):
      x, y, z = rng.uniform(-3, 3), rng.uniform(0, 1.5), rng.uniform(-3, 3)
      name, suffix = ("Sink", "|SinkBasin") if type == "SinkBasin" else (type, "")
      id = "|".join((name, signed(x), signed(y), signed(z))) + suffix
      at = [int(x * 4), int(z * 4), rng.randrange(4), rng.choice((0, 30, 45, 60))]
      made.append((id, type, at))
  return made


def _read_room(number: int, layouts: pathlib.Path, furniture: set[str], holdable: set[str]):
  reachable = json.loads((layouts / f"FloorPlan{number}-openable.json").read_text())
  types = set(json.loads((layouts / f"FloorPlan{number}-objects.json").read_text()))
  found = [
    (id, _type_of(id), [int(x * 4), int(z * 4), int(turn) // 90, int(tilt)])
    for id, (x, z, turn, tilt) in reachable.items()
    if _type_of(id) in furniture
  ]
  missing = (types & furniture) - {type for _, type, _ in found}
  return {
    "receptacles": sorted(found + _fixtures(number, missing)),
    "objects": sorted(types & holdable),
  }


def derive() -> dict[str, Any]:
  """Reads the facts from the installed `alfworld` package."""
  spec = importlib.util.find_spec("alfworld")
  if spec is None:
    raise ModuleNotFoundError(
      "Package alfworld is not installed, and the room facts are derived from it: "
      "run `pip install alfworld==0.4.2`."
    )
  root = pathlib.Path(spec.submodule_search_locations[0]) / "gen"
  # Run as plain files: importing the package would look for its game data.
  constants, library = (
    runpy.run_path(str(root / name)) for name in ("constants.py", "goal_library.py")
  )
  movable = set(constants["MOVABLE_RECEPTACLES_SET"])
  furniture = set(constants["RECEPTACLES"]) - movable
  contains = {
    type: {o for o in constants["VAL_RECEPTACLE_OBJECTS"].get(type, ()) if "Sliced" not in o}
    for type in furniture
  }
  lamps = {"DeskLamp"}
  holdable = set().union(*contains.values()) | lamps
  properties = {
    "openable": constants["OPENABLE_CLASS_SET"] & furniture,
    "isReceptacleObject": movable,
    **{
      key.lower(): set(types) & holdable for key, types in constants["VAL_ACTION_OBJECTS"].items()
    },
  }
  listed = lambda table: {key: sorted(table[key]) for key in sorted(table)}
  return {
    "rooms": {n: _read_room(n, root / "layouts", furniture, holdable) for n in ROOMS},
    "contains": listed({type: held for type, held in contains.items() if held}),
    "properties": listed(properties),
    "sentences": {task: library["gdict"][task]["templates"] for task in TASK_TYPES},
    "goals": {task: library["gdict"][task]["pddl"] for task in TASK_TYPES},
  }


def main() -> None:
  """Derives the facts anew and writes their file."""
  text = json_text.dumps(derive(), separators=(",", ":"))
  FACTS_FILE.write_bytes(lzma.compress(text.encode(), preset=9))
  print(f"{FACTS_FILE}: {FACTS_FILE.stat().st_size:,} bytes, {len(facts().rooms)} rooms")
