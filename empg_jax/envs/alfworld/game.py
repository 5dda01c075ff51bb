"""An ALFWorld game as data: rooms, objects and the goal from `game.tw-pddl`.

A game file is JSON with the keys pddl_domain, grammar, pddl_problem, solvable and
walkthrough. The rules are the same in all games, so of the grammar only the task's
sentence is read, and the domain not at all. Ids such as
`apple_bar__minus_00_dot_16_bar_...` are lower-cased, as the planner does with them.
"""

import collections
from collections.abc import Iterable, Mapping
import dataclasses
import re

_FACT = re.compile(r"\(([^()]+)\)")
_TASK = re.compile(r"Your task is to: (.*?)\"")
_GOAL_TYPE = re.compile(r"\((object|receptacle)type (\?\w+) (\w+)\)")
_GOAL_STATE = re.compile(r"\(is(hot|cool|clean|sliced) \?\w+\)")
_GOAL_TOGGLED = re.compile(r"\(istoggled (\?\w+)\)")

# The facts that count, by how many arguments they have.
_ARITY = {
  "openable": 1, "pickupable": 1, "toggleable": 1, "isreceptacleobject": 1, "heatable": 1,
  "coolable": 1, "cleanable": 1, "sliceable": 1, "ishot": 1, "iscool": 1, "isclean": 1,
  "issliced": 1, "istoggled": 1, "opened": 1, "atlocation": 2, "receptacleatlocation": 2,
  "receptacletype": 2, "objecttype": 2, "cancontain": 2, "inreceptacleobject": 2,
  "inreceptacle": 2, "objectatlocation": 2,
}  # fmt: skip
_MOST_RECEPTACLES = 1000  # the first text names all, and each leads to all others

# An object counts as hot, cool, .. for a goal only if it is heatable, coolable, ..
_CAPABILITY = {
  "hot": "heatable",
  "cool": "coolable",
  "clean": "cleanable",
  "sliced": "sliceable",
}


@dataclasses.dataclass(frozen=True)
class Goal:
  """The goal, in one form for all six task types.

  With a lamp: hold an object of `object_type` where a lamp of `lamp_type` is on.
  Otherwise: have `count` objects of `object_type` that are in every one of `states`
  (hot, cool, clean, sliced) in one receptacle of `receptacle_type`.
  """

  object_type: str
  receptacle_type: str | None = None
  lamp_type: str | None = None
  states: tuple[str, ...] = ()
  count: int = 1


@dataclasses.dataclass(frozen=True)
class Game:
  """The constant part of a game. Locations, objects and receptacles are ids.

  Attributes:
    task: the task's sentence.
    goal: the goal.
    names: the name of each object and receptacle in observations, "apple 2".
    types: the type of each object and receptacle, "appletype".
    start: the location the player starts at, in real games away from all receptacles.
    receptacles: all of them, in the order of their ids.
    location: the location of each receptacle.
    receptacles_at: the receptacles at a location, in the order of their ids.
    go_to: for each location, the commands that lead to others.
    able: the objects that are pickupable, heatable, .., receptacles that are openable.
    can_contain: pairs of receptacle type and object type.
    inside: pairs of an object and the object that contains it (a fork in a bowl).
    placed: pairs of an object and the receptacle that contains it at the start. Real games
      have objects in two receptacles.
    lying: pairs of an object and the location it is at, at the start.
    states: the objects that are hot, cool, clean, sliced, toggled and the receptacles
      that are opened at the start.
  """

  task: str
  goal: Goal
  names: Mapping[str, str]
  types: Mapping[str, str]
  start: str
  receptacles: tuple[str, ...]
  location: Mapping[str, str]
  receptacles_at: Mapping[str, tuple[str, ...]]
  go_to: Mapping[str, tuple[tuple[str, str], ...]]
  able: Mapping[str, frozenset[str]]
  can_contain: frozenset[tuple[str, str]]
  inside: tuple[tuple[str, str], ...]
  placed: tuple[tuple[str, str], ...]
  lying: tuple[tuple[str, str], ...]
  states: Mapping[str, frozenset[str]]

  def has_state(self, states: Mapping[str, set[str]], obj: str, state: str) -> bool:
    """Whether `obj` counts as `state` for a goal."""
    return obj in states[state] and obj in self.able[_CAPABILITY[state]]


def parse_game(data: Mapping[str, object]) -> Game:
  """Reads a game file's dict.

  Raises:
    ValueError: it is not an ALFWorld game, in one sentence that says what is missing.
  """
  problem, grammar = _text(data, "pddl_problem"), _text(data, "grammar")
  task = _TASK.search(grammar)
  if task is None:
    raise ValueError(
      "the game's grammar has no sentence 'Your task is to: ..': it is not an"
      " ALFWorld game, or it was cut short"
    )
  init, goal = problem.lower().find("(:init"), problem.lower().find("(:goal")
  if not 0 <= init < goal:
    raise ValueError(
      "the game's pddl_problem has no (:init ..) followed by (:goal ..): it is not"
      " an ALFWorld game, or it was cut short"
    )
  facts = _facts(problem[init:goal].lower())
  location = dict(facts["receptacleatlocation"])
  if len(facts["atlocation"]) != 1 or not location:
    raise ValueError(
      "the game's pddl_problem must say where the agent starts (atLocation, once)"
      " and where the receptacles are (receptacleAtLocation)"
    )
  names = _names({arg for rows in facts.values() for row in rows for arg in row})
  _check(facts, location, names)
  receptacles = tuple(sorted(location))
  start = facts["atlocation"][0][1]
  receptacles_at: dict[str, tuple[str, ...]] = {start: ()}
  for r in receptacles:
    receptacles_at[location[r]] = (*receptacles_at.get(location[r], ()), r)
  return Game(
    task=task.group(1),
    goal=_goal(problem[goal:].lower()),
    names=names,
    types=dict(facts["receptacletype"] + facts["objecttype"]),
    start=start,
    receptacles=receptacles,
    location=location,
    receptacles_at=receptacles_at,
    go_to={
      here: tuple((f"go to {names[r]}", r) for r in receptacles if location[r] != here)
      for here in receptacles_at
    },
    able={
      k: _members(facts[k])
      for k in ("openable", "pickupable", "toggleable", "isreceptacleobject", *_CAPABILITY.values())
    },
    can_contain=frozenset(facts["cancontain"]),
    inside=tuple(sorted(facts["inreceptacleobject"])),
    placed=tuple(sorted(set(facts["inreceptacle"]))),
    lying=tuple(sorted(set(facts["objectatlocation"]))),
    states={
      **{k: _members(facts["is" + k]) for k in (*_CAPABILITY, "toggled")},
      "opened": _members(facts["opened"]),
    },
  )


def _text(data: Mapping[str, object], key: str) -> str:
  value = data.get(key) if isinstance(data, Mapping) else None
  if not isinstance(value, str):
    raise ValueError(f"an ALFWorld game must be a dict with a text under {key!r}")
  return value


def _facts(text: str) -> collections.defaultdict[str, list[tuple[str, ...]]]:
  """The argument tuples of each predicate."""
  facts = collections.defaultdict(list)
  for fact in _FACT.findall(text):
    predicate, *args = fact.split() or [""]
    if len(args) != _ARITY.get(predicate, len(args)):
      raise ValueError(
        f"the game's pddl_problem says ({fact!r:.80}), which must have {_ARITY[predicate]}"
        " arguments: it is not an ALFWorld game, or it was damaged"
      )
    facts[predicate].append(tuple(args))
  return facts


def _check(
  facts: Mapping[str, list[tuple[str, ...]]],
  location: Mapping[str, str],
  names: Mapping[str, str],
) -> None:
  """Raises ValueError unless everything that the game can mention has a name and a place."""
  if len(location) > _MOST_RECEPTACLES:
    raise ValueError(f"the game has {len(location)} receptacles: want {_MOST_RECEPTACLES} at most")
  holders = {holder for _, holder in facts["inreceptacle"]}
  if nowhere := holders - location.keys():
    raise ValueError(
      f"the game puts something into {min(nowhere)!r:.80}, which is nowhere: its"
      " pddl_problem must have a receptacleAtLocation for it"
    )
  spoken_of = {id for pair in facts["inreceptacleobject"] for id in pair} | location.keys()
  spoken_of |= {id for place in ("inreceptacle", "objectatlocation") for id, _ in facts[place]}
  if nameless := spoken_of - names.keys():
    raise ValueError(
      f"the game has {min(nameless)!r:.80}, for which there is no name: want an id such as"
      " apple_bar__plus_00_dot_93"
    )


def _members(rows: Iterable[tuple[str, ...]]) -> frozenset[str]:
  return frozenset(row[0] for row in rows)


def _names(ids: Iterable[str]) -> dict[str, str]:
  """Names for observations: of n ids in order, the first is number n and the last number 1."""
  kinds = {}
  for i in sorted(ids):
    kind, bar, _ = i.partition("_bar_")
    if bar:
      kinds[i] = kind + "basin" if "basin" in i else kind
  left = collections.Counter(kinds.values())
  names = {}
  for i, kind in kinds.items():
    names[i] = f"{kind} {left[kind]}"
    left[kind] -= 1
  return names


def _goal(text: str) -> Goal:
  """Reads the (:goal ..) of any of the six task types."""
  types = _GOAL_TYPE.findall(text)
  objects = {var: name for what, var, name in types if what == "object"}
  receptacles = {name for what, _, name in types if what == "receptacle"}
  toggled = _GOAL_TOGGLED.search(text)
  lamp = objects.pop(toggled.group(1), None) if toggled else None
  wanted = set(objects.values())
  if len(wanted) != 1 or bool(toggled) != bool(lamp) or (len(receptacles) != (0 if lamp else 1)):
    raise ValueError(
      "the game's goal is none of ALFWorld's six: it must name one object type and"
      f" either one receptacle type or one lamp to toggle, got {text[:200]!r}"
    )
  return Goal(
    object_type=wanted.pop(),
    receptacle_type=None if lamp else receptacles.pop(),
    lamp_type=lamp,
    states=tuple(sorted(set(_GOAL_STATE.findall(text)))),
    count=len(objects),
  )
