"""Draws genuine ALFWorld games: a room, a task, and objects at possible places.

`draw(seed, index, size)` returns the same game every time, on every machine, and needs
only the standard library. A game is a compact `Spec`; `problem.game` expands it to the
content of a `game.tw-pddl` file, with its solution.

Sizes:
  full   as ALFWorld's own games: every receptacle of the room, 20 to 60 objects.
  small  5 to 8 receptacles, among them those that the task needs, and about 4 to 8
         objects.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
import itertools
import random
from typing import NamedTuple

from empg_jax.envs.alfworld.placement import (
  LAMP,
  LAMP_STANDS,
  TOOLS,
  choices,
  likelihood,
  rooms_for,
  space,
)
from empg_jax.envs.alfworld.rooms import TASK_TYPES, TRAIN_ROOMS, Receptacle, facts

SIZES = ("small", "full")
JITTER = 64  # places on a receptacle, an 8 x 8 grid of 5 cm around its position


class Thing(NamedTuple):
  """An object and its place."""

  type: str  # "Apple"
  receptacle: int  # index into the room's receptacles
  jitter: int  # place on it, 0 .. JITTER - 1


class Spec(NamedTuple):
  """A game in compact form: the choices of `draw`, and nothing that follows from them."""

  task: str  # one of TASK_TYPES
  room: int
  object: str  # type of the wanted object
  target: str  # type of receptacle to put it in, or of the lamp
  sentence: int  # which of the task's two sentences
  start: tuple[int, int, int, int]  # where the agent stands
  receptacles: tuple[int, ...]  # those kept, as indices into the room's
  things: tuple[Thing, ...]

  def content(self) -> tuple:
    """Equal for games that differ only in fine positions, and so are alike."""
    things = tuple(sorted((thing.type, thing.receptacle) for thing in self.things))
    return self.task, self.room, self.object, self.target, self.receptacles, things


def draw(
  seed: int | str,
  index: int,
  size: str,
  rooms: Sequence[int] = TRAIN_ROOMS,
  task: str | None = None,
) -> Spec:
  """Game number `index` of the endless stream `seed`; `task` fixes its type.

  Raises:
    ValueError: size is unknown, or none of the rooms suits the task.
  """
  if size not in SIZES:
    raise ValueError(f"Unknown size of games {size!r}: use one of {SIZES}.")
  rng = random.Random(f"{seed}/{size}/{index}")
  task = rng.choice(TASK_TYPES) if task is None else task
  possible = rooms_for(task, tuple(rooms))
  if not possible:
    raise ValueError(f"None of the rooms {list(rooms)} suits {task}: name other rooms.")
  while True:  # until everything that the task needs has space
    room = rng.choice(possible)
    object, targets = rng.choice(choices(task, room))
    target = rng.choice(targets)
    receptacles = facts().rooms[room].receptacles
    kept = range(len(receptacles))
    if size == "small":
      kept = _few_receptacles(rng, _needs(task, object, target), receptacles)
    if not kept:
      continue
    least = 2 if task == "pick_two_obj_and_place" else 1
    others = sorted(facts().rooms[room].objects - {object, LAMP})
    table = _Table(rng, receptacles, kept)
    if target == LAMP and not table.lay(LAMP):
      continue
    wanted, counts = _counts(rng, size, least, others)
    if sum(table.lay(object, barred=target) for _ in range(wanted)) < least:
      continue
    for type, number in counts:
      for _ in range(number):
        table.lay(type)
    if size == "full" or len(table.things) >= 4:
      break
  start, sentence = _start(rng, receptacles), rng.randrange(2)
  return Spec(task, room, object, target, sentence, start, tuple(kept), tuple(table.things))


def stream(seed: int | str, size: str, rooms: Sequence[int] = TRAIN_ROOMS) -> Iterator[Spec]:
  """Games without end, the six task types in turn."""
  for index in itertools.count():
    yield draw(seed, index, size, rooms, TASK_TYPES[index % len(TASK_TYPES)])


def _needs(task: str, object: str, target: str) -> list[Callable[[str], bool]]:
  """The types of receptacles that a game needs."""
  needs = [lambda type: likelihood(object, type) > 0 and type != target]
  if target == LAMP:
    needs.append(LAMP_STANDS.__contains__)
  else:
    needs.append(target.__eq__)
  if task in TOOLS:
    needs.append(TOOLS[task].__eq__)
  return needs


def _few_receptacles(
  rng: random.Random, needs: list[Callable[[str], bool]], receptacles: Sequence[Receptacle]
) -> list[int] | None:
  """5 to 8 receptacles that meet the needs, no two reached from one spot."""
  order = list(range(len(receptacles)))
  rng.shuffle(order)
  kept: list[int] = []
  spots: set[tuple[int, ...]] = set()
  kinds: Counter[str] = Counter()

  def keep(i: int) -> None:
    kept.append(i)
    spots.add(receptacles[i].location)
    kinds[receptacles[i].type] += 1

  for need in needs:
    free = (i for i in order if receptacles[i].location not in spots)
    found = next((i for i in free if need(receptacles[i].type)), None)
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
  rng: random.Random, size: str, least: int, others: list[str]
) -> tuple[int, list[tuple[str, int]]]:
  """The numbers of objects of the wanted type, and of each other type."""
  if size == "full":
    extra = rng.choices((0, 1, 2), (5, 3, 2))[0]
    return least + extra, [(type, rng.choice((1, 1, 2, 2, 3))) for type in others]
  extra = rng.choices((0, 1), (3, 1))[0]
  total = rng.randint(4, 8)
  rng.shuffle(others)
  return least + extra, [(type, 1) for type in others[: total - least - extra]]


class _Table:
  """Receptacles while objects are placed on them."""

  def __init__(self, rng: random.Random, receptacles: Sequence[Receptacle], kept: Sequence[int]):
    self.things: list[Thing] = []
    self._rng = rng
    self._load: Counter[int] = Counter()
    self._by_type: dict[str, list[int]] = {}
    for i in kept:
      self._by_type.setdefault(receptacles[i].type, []).append(i)

  def lay(self, type: str, barred: str | None = None) -> bool:
    """Places an object, never on a `barred` type of receptacle; False if there is no space."""
    weights = {t: likelihood(type, t) for t in self._by_type if t != barred}
    weights = {t: weight for t, weight in weights.items() if weight > 0}
    for _ in range(8 if weights else 0):
      holder = self._rng.choices(list(weights), list(weights.values()))[0]
      place = self._rng.choice(self._by_type[holder])
      thing = Thing(type, place, self._rng.randrange(JITTER))
      if self._load[place] < space(holder) and thing not in self.things:
        self._load[place] += 1
        self.things.append(thing)
        return True
    return False


def _start(rng: random.Random, receptacles: Sequence[Receptacle]) -> tuple[int, int, int, int]:
  """A location from which no receptacle is in reach."""
  start = (rng.randint(-12, 12), rng.randint(-12, 12), rng.randrange(4), 30)
  used = {receptacle.location for receptacle in receptacles}
  while start in used:
    start = (start[0] + 1, *start[1:])
  return start
