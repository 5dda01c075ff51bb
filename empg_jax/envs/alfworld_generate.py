"""Draws genuine ALFWorld games: a room, a task, and objects where they may lie.

`draw(seed, index, size)` gives the same game every time, on every machine, and needs
nothing but the standard library. A game is a compact `Spec`; `alfworld_problem.game`
writes it out as what a `game.tw-pddl` file holds, with its solution.

Sizes:
  full   as ALFWorld's own games: every receptacle of the room, 20 to 60 objects.
  small  5 to 8 receptacles, among them those that the task needs, and 4 to 8 objects.
"""

import functools
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from empg_jax.envs.alfworld_rooms import (
    BATHROOMS, BEDROOMS, KITCHENS, LIVING_ROOMS, TASK_TYPES, TRAIN_ROOMS, Receptacle, facts,
)

Size = Literal["small", "full"]

TOOLS = {  # task type -> the receptacle type that does it
    "pick_clean_then_place_in_recep": "SinkBasin",
    "pick_heat_then_place_in_recep": "Microwave",
    "pick_cool_then_place_in_recep": "Fridge",
}
LAMP = "DeskLamp"
JITTER = 64  # places on a receptacle, an 8 x 8 grid of 5 cm around its position

_ABLE = {
    "pick_clean_then_place_in_recep": "cleanable",
    "pick_heat_then_place_in_recep": "heatable",
    "pick_cool_then_place_in_recep": "coolable",
}
_PLACES = {
    "look_at_obj_in_light": (LIVING_ROOMS, BEDROOMS),
    "pick_clean_then_place_in_recep": (KITCHENS, BATHROOMS),
    "pick_heat_then_place_in_recep": (KITCHENS,),
    "pick_cool_then_place_in_recep": (KITCHENS,),
}
_LAMP_STANDS = frozenset({"Desk", "SideTable", "Dresser", "Shelf", "CoffeeTable", "DiningTable"})

# How much an object is drawn to a type of receptacle that may hold it (1 if not listed).
_WEIGHTS = {
    "CounterTop": 4, "DiningTable": 4, "Desk": 4, "Dresser": 3, "SideTable": 3, "CoffeeTable": 3,
    "Bed": 3, "Sofa": 3, "Shelf": 2, "TVStand": 2, "Fridge": 3, "Cabinet": 2, "Drawer": 2,
    "Toilet": 2, "StoveBurner": 4, "TowelHolder": 9, "HandTowelHolder": 9,
    "GarbageCan": 0.6, "Safe": 0.3, "ArmChair": 0.6, "Ottoman": 0.6,
}
_ROOM_FOR = {  # objects that fit; 10 if not listed
    "StoveBurner": 1, "CoffeeMachine": 1, "TowelHolder": 1, "HandTowelHolder": 1,
    "ToiletPaperHanger": 1, "Microwave": 2, "Drawer": 3, "Cabinet": 4,
}


class Thing(NamedTuple):
  """An object and where it lies."""

  type: str  # "Apple"
  receptacle: int  # index into the room's receptacles
  jitter: int  # place on it, 0 .. JITTER - 1


class Spec(NamedTuple):
  """A game, compactly: what `draw` decided and nothing that follows from it."""

  task: str  # one of TASK_TYPES
  room: int
  object: str  # type of the object asked for
  target: str  # type of receptacle to put it in, or of the lamp
  sentence: int  # which of the task's two sentences
  start: tuple[int, int, int, int]  # where the agent stands
  receptacles: tuple[int, ...]  # those kept, as indices into the room's
  things: tuple[Thing, ...]

  def content(self) -> tuple:
    """What makes two games alike: equal for games that differ only in fine positions."""
    things = tuple(sorted((thing.type, thing.receptacle) for thing in self.things))
    return self.task, self.room, self.object, self.target, self.receptacles, things


def likelihood(object: str, receptacle: str) -> float:
  """How strongly objects of a type are drawn to a type of receptacle, 0 if never put there."""
  if object == LAMP:
    return float(receptacle in _LAMP_STANDS)
  if object not in facts().contains.get(receptacle, ()):
    return 0.0
  return float(_WEIGHTS.get(receptacle, 1))


@functools.cache
def choices(task: str, room: int) -> tuple[tuple[str, tuple[str, ...]], ...]:
  """The objects that `task` may ask for in `room`, each with the possible targets."""
  known = facts()
  furniture = sorted({r.type for r in known.rooms[room].receptacles})
  objects = known.rooms[room].objects
  if task == "look_at_obj_in_light":
    if LAMP not in objects or not _LAMP_STANDS & set(furniture):
      return ()
  tool = TOOLS.get(task)
  if tool is not None and tool not in furniture:
    return ()
  able = known.properties[_ABLE[task]] if task in _ABLE else objects
  options = []
  for object in sorted((objects & able) - {LAMP}):
    holders = {type for type in furniture if likelihood(object, type) > 0}
    targets = [LAMP] if task == "look_at_obj_in_light" else sorted(holders - {tool})
    # Somewhere to lie at first, with space for two where two are asked for.
    targets = tuple(
        target for target in targets
        if sum(_ROOM_FOR.get(t, 10) for t in holders - {target}) >= 2
    )
    if targets:
      options.append((object, targets))
  return tuple(options)


@functools.cache
def rooms_for(task: str, rooms: tuple[int, ...]) -> tuple[int, ...]:
  """Those of `rooms` in which `task` can be set."""
  allowed = _PLACES.get(task)
  return tuple(
      room for room in rooms
      if (allowed is None or any(room in kind for kind in allowed)) and choices(task, room)
  )


def draw(
    seed: int | str, index: int, size: Size, rooms: Sequence[int] = TRAIN_ROOMS, task: str | None = None,
) -> Spec:
  """Game number `index` of the endless stream `seed`; `task` fixes its type."""
  if size not in ("small", "full"):
    raise ValueError(f"Unknown size of games {size!r}: use 'small' or 'full'.")
  rng = random.Random(f"{seed}/{size}/{index}")
  task = rng.choice(TASK_TYPES) if task is None else task
  possible = rooms_for(task, tuple(rooms))
  if not possible:
    raise ValueError(f"None of the rooms {list(rooms)} suits {task}: name other rooms.")
  while True:
    room = rng.choice(possible)
    object, targets = rng.choice(choices(task, room))
    target = rng.choice(targets)
    receptacles = facts().rooms[room].receptacles
    kept = range(len(receptacles))
    if size == "small":
      kept = _few_receptacles(rng, task, object, target, receptacles)
    things = kept and _place(rng, size, task, object, target, room, kept)
    if things:
      start = _start(rng, receptacles)
      return Spec(task, room, object, target, rng.randrange(2), start, tuple(kept), things)


def stream(seed: int, size: Size, rooms: Sequence[int] = TRAIN_ROOMS) -> Iterator[Spec]:
  """Games without end, the six task types in turn."""
  index = 0
  while True:
    yield draw(seed, index, size, rooms, TASK_TYPES[index % len(TASK_TYPES)])
    index += 1


def _few_receptacles(
    rng: random.Random, task: str, object: str, target: str, receptacles: Sequence[Receptacle],
) -> list[int] | None:
  """5 to 8 of the room's receptacles with what the task needs, no two reached from one spot."""
  order = list(range(len(receptacles)))
  rng.shuffle(order)
  holds = lambda i: likelihood(object, receptacles[i].type) > 0 and receptacles[i].type != target
  needs = [holds]
  if target == LAMP:
    needs.append(lambda i: receptacles[i].type in _LAMP_STANDS)
  else:
    needs.append(lambda i: receptacles[i].type == target)
  if task in TOOLS:
    needs.append(lambda i: receptacles[i].type == TOOLS[task])
  kept: list[int] = []
  spots, kinds = set(), Counter()

  def keep(i: int) -> None:
    kept.append(i)
    spots.add(receptacles[i].location)
    kinds[receptacles[i].type] += 1

  for needed in needs:
    free = (i for i in order if needed(i) and receptacles[i].location not in spots)
    found = next(free, None)
    if found is None:
      return None
    keep(found)
  wanted = rng.randint(5, 8)
  for i in order:
    type, location = receptacles[i].type, receptacles[i].location
    if len(kept) < wanted and location not in spots and kinds[type] < 3:
      keep(i)
  return sorted(kept) if len(kept) >= 5 else None


def _counts(
    rng: random.Random, size: Size, task: str, object: str, room: int
) -> list[tuple[str, int]]:
  """How many objects of which type the game has, the one asked for first."""
  least = 2 if task == "pick_two_obj_and_place" else 1
  others = sorted(facts().rooms[room].objects - {object, LAMP})
  if size == "full":
    extra = rng.choices((0, 1, 2), (5, 3, 2))[0]
    return [(object, least + extra)] + [(o, rng.choice((1, 1, 2, 2, 3))) for o in others]
  extra = rng.choices((0, 1), (3, 1))[0]
  total = rng.randint(4, 8)
  rng.shuffle(others)
  return [(object, least + extra)] + [(o, 1) for o in others[: total - least - extra]]


def _place(
    rng: random.Random, size: Size, task: str, object: str, target: str, room: int,
    kept: Sequence[int],
) -> tuple[Thing, ...] | None:
  """Lays objects on the kept receptacles, none of those asked for where they shall go."""
  receptacles = facts().rooms[room].receptacles
  by_type: dict[str, list[int]] = {}
  for i in kept:
    by_type.setdefault(receptacles[i].type, []).append(i)
  load, taken, things = Counter(), set(), []

  def lay(type: str, barred: str | None) -> bool:
    """Lays one object, on a type of receptacle first and then on one of it."""
    types = [t for t in by_type if t != barred and likelihood(type, t) > 0]
    if not types:
      return False
    for _ in range(8):
      holder = rng.choices(types, [likelihood(type, t) for t in types])[0]
      i, jitter = rng.choice(by_type[holder]), rng.randrange(JITTER)
      if load[i] < _ROOM_FOR.get(holder, 10) and (type, i, jitter) not in taken:
        load[i] += 1
        taken.add((type, i, jitter))
        things.append(Thing(type, i, jitter))
        return True
    return False

  least = 2 if task == "pick_two_obj_and_place" else 1
  if target == LAMP and not lay(LAMP, None):
    return None
  counts = _counts(rng, size, task, object, room)
  if sum(lay(object, target) for _ in range(counts[0][1])) < least:
    return None
  for type, number in counts[1:]:
    for _ in range(number):
      lay(type, None)
  return tuple(things) if size == "full" or len(things) >= 4 else None


def _start(rng: random.Random, receptacles: Sequence[Receptacle]) -> tuple[int, int, int, int]:
  """A spot from which no receptacle is in reach."""
  start = (rng.randint(-12, 12), rng.randint(-12, 12), rng.randrange(4), 30)
  used = {receptacle.location for receptacle in receptacles}
  while start in used:
    start = (start[0] + 1, *start[1:])
  return start
