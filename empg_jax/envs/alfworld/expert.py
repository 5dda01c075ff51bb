"""An ALFWorld expert that uses only what it has read: it searches, then does the task.

    expert = Expert(random.Random(0))
    move = expert.act(env.reset(task))
    while True:
      step = env.step(move.action)
      if step.done: break
      move = expert.act(step.observation)

Every action has a thought: the remaining steps in words of the task and of the
observations, so that the action follows from the last thought and the last text:

    find apple heat fridge  ->  take apple 2 heat fridge  ->  heat apple 2 fridge  ->
    put apple 2 fridge

The search is systematic, so that it is easy to learn. In a room of few receptacles it visits
them as listed; in a larger one it visits likely types of receptacles first, and those of one
type as listed. Sometimes it picks the next one at random.
"""

import functools
import random
import re
from typing import NamedTuple

from empg_jax.envs.alfworld.placement import LAMP, likelihood
from empg_jax.envs.alfworld.rooms import facts

FEW = 8  # a room with at most this many receptacles is searched as listed
WHIM = 0.05  # how often the next receptacle is picked at random

_TOOLS = {"heat": "microwave", "cool": "fridge", "clean": "sinkbasin"}
_TASKS = tuple(
  (goal, re.compile(pattern))
  for goal, pattern in (
    ("two", r"put two (\w+) in (\w+)"),
    ("two", r"find two (\w+) and put them in (\w+)"),
    ("heat", r"put a hot (\w+) in (\w+)"),
    ("heat", r"heat some (\w+) and put it in (\w+)"),
    ("cool", r"put a cool (\w+) in (\w+)"),
    ("cool", r"cool some (\w+) and put it in (\w+)"),
    ("clean", r"put a clean (\w+) in (\w+)"),
    ("clean", r"clean some (\w+) and put it in (\w+)"),
    ("look", r"look at (\w+) under the (\w+)"),
    ("look", r"examine the (\w+) with the (\w+)"),
    ("put", r"put a (\w+) in (\w+)"),
    ("put", r"put some (\w+) on (\w+)"),
  )
)
_THING = r"(\w+ \d+)"
_LISTED = re.compile(rf"\ba {_THING}")
_SEEN = re.compile(rf"(?:On the|The) {_THING}(?: is open\. In it)?, you see ([^.]*)\.")
_CLOSED = re.compile(rf"The {_THING} is closed\.|You close the {_THING}\.")
_ARRIVED = re.compile(rf"You arrive at {_THING}\.")
_TAKEN = re.compile(rf"You pick up the {_THING} from the {_THING}\.")
_MOVED = re.compile(rf"You move the {_THING} to the {_THING}\.")
_CHANGED = re.compile(rf"You (heat|cool|clean) the {_THING} using the {_THING}\.")


class Move(NamedTuple):
  thought: str  # "take apple 2 heat fridge"
  action: str  # "take apple 2 from countertop 1"


class Expert:
  """Plays one episode; each episode needs a new one."""

  def __init__(self, rng: random.Random):
    self._rng = rng
    self._receptacles: list[str] = []  # as listed in the first observation
    self._contents: dict[str, list[str]] = {}  # receptacle -> objects last seen in it
    self._closed: set[str] = set()
    self._where: str | None = None
    self._held: str | None = None
    self._changed: dict[str, set[str]] = {"heat": set(), "cool": set(), "clean": set()}
    self._refused: set[str] = set()  # actions that had the answer "Nothing happens."
    self._last: str | None = None

  def act(self, observation: str, played: str | None = None) -> Move:
    """The next action, and a thought.

    Args:
      observation: the answer to the last action, or the first text of the episode.
      played: the last action, if it was not the expert's.

    Raises:
      ValueError: the first observation does not list receptacles and a task.
    """
    if not self._receptacles:
      self._begin(observation)
    else:
      self._read(observation, self._last if played is None else played)
    move = self._decide()
    self._last = move.action
    return move

  # --- reading

  def _begin(self, observation: str) -> None:
    room, _, task = observation.partition("Your task is to: ")
    self._receptacles = _LISTED.findall(room)
    for goal, pattern in _TASKS:
      found = pattern.match(task)
      if found and self._receptacles:
        self._goal, (self._object, self._target) = goal, found.groups()
        return
    raise ValueError(
      f"The first observation must list receptacles and state one of ALFWorld's tasks, "
      f"got {observation[-200:]!r}."
    )

  def _read(self, text: str, played: str) -> None:
    if text.startswith("Nothing happens"):
      self._refused.add(played)
      verb, _, place = played.rpartition("go to ")
      if verb == "" and place in self._receptacles:  # in reach from this spot already
        self._where = place
      return
    if found := _ARRIVED.search(text):
      self._where = found[1]
    if found := _SEEN.search(text):
      self._contents[found[1]] = _LISTED.findall(found[2])
      self._closed.discard(found[1])
    if found := _CLOSED.search(text):
      self._closed.add(found[1] or found[2])
    if found := _TAKEN.match(text):
      self._held = found[1]
      if found[1] in self._contents.get(found[2], ()):
        self._contents[found[2]].remove(found[1])
    elif found := _MOVED.match(text):
      self._held = None
      self._contents.setdefault(found[2], []).append(found[1])
    elif found := _CHANGED.match(text):
      self._changed[found[1]].add(found[2])
      if found[1] != "clean":
        self._changed["cool" if found[1] == "heat" else "heat"].discard(found[2])

  # --- deciding

  def _decide(self) -> Move:
    if self._held is not None and _type(self._held) != self._object:
      return self._drop(self._held)
    if self._held is None:
      return self._fetch()
    if self._goal == "look":
      return self._light()
    if self._goal in _TOOLS and self._held not in self._changed[self._goal]:
      tool = f"{_TOOLS[self._goal]} 1"
      thought = f"{self._goal} {self._held} {self._target}"
      return Move(thought, self._at(tool) or f"{self._goal} {self._held} with {tool}")
    place = self._destination()
    thought = f"put {self._held} {self._target}"
    if self._goal == "two" and not self._delivered(place):
      thought = f"put {self._held} two {self._target}"
    return Move(thought, self._at(place, open=True) or f"move {self._held} to {place}")

  def _fetch(self) -> Move:
    """Takes an object of the wanted type, or searches for one."""
    done = self._destination() if self._goal != "look" else None
    rest = self._rest(done)
    for place, things in self._contents.items():
      for thing in things:
        ready = self._goal not in _TOOLS or thing in self._changed[self._goal]
        if _type(thing) != self._object or (place == done and ready):
          continue
        take = f"take {thing} from {place}"
        if take in self._refused and place == self._where:
          continue
        return Move(f"take {thing} {rest}", self._at(place, open=True) or take)
    return Move(f"find {self._object} {rest}", self._search(self._object))

  def _rest(self, done: str | None) -> str:
    """The remaining steps once the object is in hand."""
    if self._goal in _TOOLS:
      return f"{self._goal} {self._target}"
    if self._goal == "two":
      return f"{'second' if self._delivered(done) else 'two'} {self._target}"
    return self._target

  def _light(self) -> Move:
    """Brings the object in hand to a lamp and turns it on."""
    for place, things in self._contents.items():
      for thing in things:
        if _type(thing) == self._target:
          return Move(f"use {thing}", self._at(place) or f"use {thing}")
    return Move(f"find {self._target}", self._search(self._target))

  def _drop(self, thing: str) -> Move:
    """Puts down an object of no use, if possible where the agent stands."""
    places = [self._where] if self._where else []
    for place in places + self._receptacles:
      move = f"move {thing} to {place}"
      if move not in self._refused:
        return Move(f"drop {thing}", self._at(place, open=True) or move)
    self._refused.clear()
    return Move(f"drop {thing}", "inventory")

  def _search(self, type: str) -> str:
    """Goes to the next receptacle that is not yet searched, or opens the one at hand."""
    if self._where in self._closed and self._where not in self._contents:
      return f"open {self._where}"
    if self._where and self._where not in self._contents:
      return f"examine {self._where}"
    unseen = [r for r in self._receptacles if r not in self._contents and r != self._where]
    if not unseen:  # all were searched, and may have changed since
      self._contents.clear()
      self._refused.clear()
      unseen = [r for r in self._receptacles if r != self._where] or self._receptacles
    if self._rng.random() < WHIM:
      return f"go to {self._rng.choice(unseen)}"
    if len(self._receptacles) > FEW:
      return f"go to {self._likeliest(type, unseen)}"
    start = self._receptacles.index(self._where) if self._where else -1
    following = self._receptacles[start + 1 :] + self._receptacles[: start + 1]
    return f"go to {next(r for r in following if r in unseen)}"

  def _likeliest(self, type: str, unseen: list[str]) -> str:
    """The first listed receptacle of the type with the best chance for an action."""
    types = [_type(r) for r in self._receptacles]
    chance = {t: _chance(type, t) / types.count(t) for t in set(types)}
    return max(unseen, key=lambda r: chance[_type(r)])

  # --- places

  def _at(self, place: str, open: bool = False) -> str | None:
    """The next action to be at `place` (and have it open); None if none is needed."""
    if self._where != place:
      return f"go to {place}"
    if place not in self._contents and place not in self._closed:
      return f"examine {place}"
    return f"open {place}" if open and place in self._closed else None

  def _destination(self) -> str:
    """The target: where an object was put before, else number 1 of its type."""
    places = [r for r in self._receptacles if _type(r) == self._target]
    return max(places[::-1], key=self._delivered, default=f"{self._target} 1")

  def _delivered(self, place: str) -> int:
    """How many objects of the wanted type are known to be there."""
    return sum(_type(thing) == self._object for thing in self._contents.get(place, ()))


def _type(name: str) -> str:
  return name.split(" ", 1)[0]


@functools.cache
def _chance(object: str, receptacle: str) -> float:
  """The likelihood of the object in a type of receptacle, divided by the actions to see it."""
  known = facts()
  kinds = {kind.lower(): kind for kind in set().union(*known.contains.values(), (LAMP,))}
  holders = {kind.lower(): kind for kind in known.contains}
  holder = holders.get(receptacle)
  if holder is None or object not in kinds:
    return 0.0
  return likelihood(kinds[object], holder) / (2 if holder in known.properties["openable"] else 1)
