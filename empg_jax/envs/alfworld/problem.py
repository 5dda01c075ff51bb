"""Expands a drawn game to the content of ALFWorld's `game.tw-pddl` files, and solves it.

`game(spec)` returns the dict of such a file (pddl_problem, grammar, walkthrough). An embedded
game has only the task sentence of the grammar and no PDDL domain, which the native engine
does not need; `write_official` adds both from the installed `alfworld` package and writes
ALFWorld's own folder layout, for the official engine.
"""

import pathlib
from typing import Any

from empg_jax.envs.alfworld.generate import Spec, Thing
from empg_jax.envs.alfworld.placement import LAMP, TOOLS
from empg_jax.envs.alfworld.rooms import Receptacle, facts, signed
from empg_jax.io import json_text


def mangle(text: str) -> str:
  """Ids in PDDL's alphabet, as ALFWorld writes them."""
  for sign, word in ("|", "bar"), ("-", "minus"), ("+", "plus"), (".", "dot"), (",", "comma"):
    text = text.replace(sign, f"_{word}_")
  return text


def sentence(spec: Spec) -> str:
  """The task as the agent reads it: "heat some apple and put it in fridge"."""
  object, target = spec.object.lower(), spec.target.lower()
  template = facts().sentences[spec.task][spec.sentence]
  return template.format(obj=object, recep=target, toggle=target)


def name(spec: Spec, trial: str) -> str:
  """The game's name as ALFWorld builds them: type-Object-Mrecep-Target-room/trial."""
  return f"{spec.task}-{spec.object}-None-{spec.target}-{spec.room}/{trial}"


def game(spec: Spec) -> dict[str, Any]:
  """The game file's dict: pddl_problem, grammar, solvable, walkthrough."""
  return {
    "pddl_problem": _problem(spec),
    "grammar": f'{{"task": [{{"rhs": "Your task is to: {sentence(spec)}."}}]}}',
    "solvable": True,
    "walkthrough": walkthrough(spec),
  }


def _receptacles(spec: Spec) -> dict[int, Receptacle]:
  room = facts().rooms[spec.room]
  return {i: room.receptacles[i] for i in spec.receptacles}


def _thing_id(thing: Thing, receptacle: Receptacle) -> str:
  """ "Apple|+00.93|+01.00|-00.21": the place on the receptacle, to the centimetre."""
  x, y, z = receptacle.position
  row, column = divmod(thing.jitter, 8)
  place = (x + 0.05 * (column - 3.5), y + 0.05, z + 0.05 * (row - 3.5))
  return "|".join((thing.type, *map(signed, place)))


def _location(at: tuple[int, int, int, int]) -> str:
  return "|".join(("loc", *map(str, at)))


def _problem(spec: Spec) -> str:
  """The PDDL problem: objects, their initial state, and the goal."""
  known, holders = facts(), _receptacles(spec)
  things = [(_thing_id(t, holders[t.receptacle]), t) for t in spec.things]
  furniture = sorted({r.type for r in holders.values()} | ({spec.target} - {LAMP}))
  kinds = sorted({t.type for t in spec.things})
  spots = sorted({r.location for r in holders.values()} | {spec.start})
  objects = ["agent1 # agent"]
  objects += [f"{type}Type # otype" for type in kinds]
  objects += [f"{type}Type # rtype" for type in furniture]
  objects += [f"{id} # object" for id, _ in things]
  objects += [f"{r.id} # receptacle" for r in holders.values()]
  objects += [f"{_location(at)} # location" for at in spots]
  init = [f"(receptacleType {r.id} {r.type}Type)" for r in holders.values()]
  init += [f"(objectType {id} {t.type}Type)" for id, t in things]
  init += [
    f"(canContain {holder}Type {kind}Type)"
    for holder in furniture
    for kind in kinds
    if kind in known.contains.get(holder, ())
  ]
  init += [f"(pickupable {id})" for id, t in things if t.type != LAMP]
  for able in (
    "cleanable",
    "heatable",
    "coolable",
    "toggleable",
    "sliceable",
    "isReceptacleObject",
  ):
    init += [f"({able} {id})" for id, t in things if t.type in known.properties[able]]
  openable = known.properties["openable"]
  init += [f"(openable {r.id})" for r in holders.values() if r.type in openable]
  init += [f"(atLocation agent1 {_location(spec.start)})"]
  init += [f"(receptacleAtLocation {r.id} {_location(r.location)})" for r in holders.values()]
  for id, t in things:
    holder = holders[t.receptacle]
    init.append(f"(inReceptacle {id} {holder.id})")
    init.append(f"(objectAtLocation {id} {_location(holder.location)})")
  goal = known.goals[spec.task].format(
    obj=spec.object, recep=spec.target, toggle=spec.target, mrecep=""
  )
  # "#" stands for PDDL's own dash until the dashes inside ids are mangled.
  body = "\n".join(["", "(:objects", *objects, ")", "(:init", *init, ")", ""])
  body = mangle(body).replace("#", "-") + goal.replace("#", "-")
  return f"\n(define (problem plan_{spec.task})\n(:domain alfred){body}"


def _numbered(ids: list[str]) -> dict[str, str]:
  """Names as in the engine: of the sorted ids, the first of a type has the highest number."""
  kinds = [(id, _kind(id)) for id in sorted(ids, key=lambda id: mangle(id).lower())]
  left: dict[str, int] = {}
  for _, kind in kinds:
    left[kind] = left.get(kind, 0) + 1
  names = {}
  for id, kind in kinds:
    names[id] = f"{kind} {left[kind]}"
    left[kind] -= 1
  return names


def _kind(id: str) -> str:
  kind = id.split("|")[0].lower()
  return kind + "basin" if "basin" in id.lower() else kind


def walkthrough(spec: Spec) -> list[str]:
  """Commands that win the game, found from the places of all objects."""
  holders = _receptacles(spec)
  ids = {thing: _thing_id(thing, holders[thing.receptacle]) for thing in spec.things}
  names = _numbered([r.id for r in holders.values()] + list(ids.values()))
  openable = facts().properties["openable"]
  opened: set[str] = set()
  commands: list[str] = []
  spot = spec.start

  def visit(holder: Receptacle, inside: bool = True) -> str:
    nonlocal spot
    called = names[holder.id]
    if holder.location != spot:
      commands.append(f"go to {called}")
      spot = holder.location
    if inside and holder.type in openable and called not in opened:
      commands.append(f"open {called}")
      opened.add(called)
    return called

  wanted = [thing for thing in spec.things if thing.type == spec.object]
  target = next((r for r in holders.values() if r.type == spec.target), None)
  tool = next((r for r in holders.values() if r.type == TOOLS.get(spec.task)), None)
  for thing in wanted[: 2 if spec.task == "pick_two_obj_and_place" else 1]:
    held = names[ids[thing]]
    commands.append(f"take {held} from {visit(holders[thing.receptacle])}")
    if spec.target == LAMP:
      lamp = next(thing for thing in spec.things if thing.type == LAMP)
      visit(holders[lamp.receptacle])
      commands.append(f"use {names[ids[lamp]]}")
      break
    if tool is not None:
      verb = spec.task.split("_")[1]
      commands.append(f"{verb} {held} with {visit(tool, inside=False)}")
    commands.append(f"move {held} to {visit(target)}")
  return commands


def write_official(spec: Spec, trial: str, folder: str | pathlib.Path) -> pathlib.Path:
  """Writes the game below `folder` in ALFWorld's layout; returns the path of its game.tw-pddl.

  Raises:
    ImportError: the extra `textworld`, from which PDDL domain and grammar come, is missing.
  """
  from empg_jax.envs.alfworld._textworld import complete_game  # an extra

  place = pathlib.Path(folder) / name(spec, trial)
  place.mkdir(parents=True, exist_ok=True)
  looks = spec.target == LAMP
  layout = {
    "task_id": trial,
    "task_type": spec.task,
    "scene": {"floor_plan": f"FloorPlan{spec.room}", "scene_num": spec.room},
    "pddl_params": {
      "object_target": spec.object,
      "parent_target": "" if looks else spec.target,
      "toggle_target": spec.target if looks else "",
      "mrecep_target": "",
      "object_sliced": False,
    },
  }
  (place / "traj_data.json").write_text(json_text.dumps(layout))
  (place / "game.tw-pddl").write_text(json_text.dumps(complete_game(game(spec))))
  return place / "game.tw-pddl"
