"""Where objects may be in ALFWorld's rooms, and which tasks are possible in which room."""

import functools

from empg_jax.envs.alfworld.rooms import BATHROOMS, BEDROOMS, KITCHENS, LIVING_ROOMS, facts

TOOLS = {  # task type -> the receptacle type that does it
  "pick_clean_then_place_in_recep": "SinkBasin",
  "pick_heat_then_place_in_recep": "Microwave",
  "pick_cool_then_place_in_recep": "Fridge",
}
LAMP = "DeskLamp"
LAMP_STANDS = frozenset({"Desk", "SideTable", "Dresser", "Shelf", "CoffeeTable", "DiningTable"})

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

# The weight of a type of receptacle that may hold an object (1 if not listed).
_WEIGHTS = {
  "CounterTop": 4,
  "DiningTable": 4,
  "Desk": 4,
  "Dresser": 3,
  "SideTable": 3,
  "CoffeeTable": 3,
  "Bed": 3,
  "Sofa": 3,
  "Shelf": 2,
  "TVStand": 2,
  "Fridge": 3,
  "Cabinet": 2,
  "Drawer": 2,
  "Toilet": 2,
  "StoveBurner": 4,
  "TowelHolder": 9,
  "HandTowelHolder": 9,
  "GarbageCan": 0.6,
  "Safe": 0.3,
  "ArmChair": 0.6,
  "Ottoman": 0.6,
}
_SPACE = {  # how many objects fit; 10 if not listed
  "StoveBurner": 1,
  "CoffeeMachine": 1,
  "TowelHolder": 1,
  "HandTowelHolder": 1,
  "ToiletPaperHanger": 1,
  "Microwave": 2,
  "Drawer": 3,
  "Cabinet": 4,
}


@functools.cache
def likelihood(object: str, receptacle: str) -> float:
  """The weight of a type of receptacle for objects of a type; 0 if it never holds them."""
  if object == LAMP:
    return float(receptacle in LAMP_STANDS)
  if object not in facts().contains.get(receptacle, ()):
    return 0.0
  return float(_WEIGHTS.get(receptacle, 1))


def space(receptacle: str) -> int:
  """How many objects a type of receptacle holds."""
  return _SPACE.get(receptacle, 10)


@functools.cache
def choices(task: str, room: int) -> tuple[tuple[str, tuple[str, ...]], ...]:
  """The objects that `task` may ask for in `room`, each with the possible targets."""
  known = facts()
  furniture = sorted({r.type for r in known.rooms[room].receptacles})
  objects = known.rooms[room].objects
  looks = task == "look_at_obj_in_light"
  if looks and (LAMP not in objects or not LAMP_STANDS & set(furniture)):
    return ()
  tool = TOOLS.get(task)
  if tool is not None and tool not in furniture:
    return ()
  able = known.properties[_ABLE[task]] if task in _ABLE else objects
  options = []
  for object in sorted((objects & able) - {LAMP}):
    holders = {type for type in furniture if likelihood(object, type) > 0}
    targets = [LAMP] if looks else sorted(holders - {tool})
    # A place at the start, with space for two where the task needs two.
    targets = tuple(target for target in targets if sum(space(t) for t in holders - {target}) >= 2)
    if targets:
      options.append((object, targets))
  return tuple(options)


@functools.cache
def rooms_for(task: str, rooms: tuple[int, ...]) -> tuple[int, ...]:
  """Those of `rooms` in which `task` is possible."""
  allowed = _PLACES.get(task)
  return tuple(
    room
    for room in rooms
    if (allowed is None or any(room in kind for kind in allowed)) and choices(task, room)
  )
