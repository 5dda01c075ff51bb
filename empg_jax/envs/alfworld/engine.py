"""Plays an ALFWorld game in plain Python, text for text as TextWorld does.

Known oddities of the real engine that are reproduced: `examine OBJECT` works only on the
object in hand; `look` before the first move sees nothing; `use` always turns on, also
an object in a closed receptacle; `go to` omits the receptacles at hand; heating, cooling
and cleaning need no open receptacle.
"""

import bisect
from collections.abc import Iterable

from empg_jax.envs.alfworld.game import Game
from empg_jax.envs.alfworld.state import State

HELP = """\
Available commands:
  look:                             look around your current location
  inventory:                        check your current inventory
  go to (receptacle):               move to a receptacle
  open (receptacle):                open a receptacle
  close (receptacle):               close a receptacle
  take (object) from (receptacle):  take an object from a receptacle
  move (object) to (receptacle):  place an object in or on a receptacle
  examine (something):              examine a receptacle or an object
  use (object):                     use an object
  heat (object) with (receptacle):  heat an object using a receptacle
  clean (object) with (receptacle): clean an object using a receptacle
  cool (object) with (receptacle):  cool an object using a receptacle
  slice (object) with (object):     slice an object using a sharp object
"""

_ROOM = "You are in the middle of a room. Looking quickly around you, you see "


class Engine:
  """One episode of a game.

  Attributes:
    intro: the first text: the room and the task.
    commands: the possible commands, each with its verb and the ids of its arguments.
  """

  def __init__(self, game: Game):
    self.game = game
    self._state = State(game)
    self.commands = self._state.commands()
    if game.receptacles_at[game.start]:
      room = self._do_look()
    else:
      room = _ROOM + _enumerate("a " + game.names[r] for r in game.receptacles) + "."
    self.intro = f"-= Welcome to TextWorld, ALFRED! =-\n\n{room}\n\nYour task is to: {game.task}"

  def step(self, command: str) -> str:
    """Plays `command`, or nothing if it is not among `commands`; returns the observation."""
    action = self.commands.get(command.strip())
    if action is None:
      return "Nothing happens."
    verb, *args = action
    text = getattr(self, "_do_" + verb)(*args)
    self.commands = self._state.commands()
    return text

  def won(self) -> bool:
    """Whether the goal is reached now."""
    return self._state.won()

  def _do_go(self, receptacle: str) -> str:
    self._state.location = self.game.location[receptacle]
    name = self.game.names[receptacle]
    return f"You arrive at {name}. {self._do_examine_receptacle(receptacle)}"

  def _do_look(self) -> str:
    game, names = self.game, self.game.names
    here = game.receptacles_at[self._state.location]
    if not here:
      return _ROOM + "nothing."
    floor = _enumerate(
      "a " + names[obj]
      for obj, location in sorted(self._state.lying)
      if location == self._state.location
      for r in here
      if (obj, r) in self._state.taken
    )
    facing = _enumerate(names[r] for r in here)
    return f"You are facing the {facing}. Next to it, you see {floor}."

  def _do_inventory(self) -> str:
    if self._state.held is None:
      return "You are not carrying anything."
    return f"You are carrying: a {self.game.names[self._state.held]}."

  def _do_help(self) -> str:
    return HELP

  def _do_examine_receptacle(self, receptacle: str) -> str:
    names = self.game.names
    name = names[receptacle]
    seen = _enumerate("a " + names[obj] for obj in self._state.contents[receptacle])
    if receptacle not in self.game.able["openable"]:
      return f"On the {name}, you see {seen}."
    if receptacle in self._state.having["opened"]:
      return f"The {name} is open. In it, you see {seen}."
    return f"The {name} is closed."

  def _do_examine_object(self, obj: str) -> str:
    game, name = self.game, self.game.names[obj]
    if obj in game.able["isreceptacleobject"]:
      seen = _enumerate("a " + game.names[inner] for inner, outer in game.inside if outer == obj)
      return f"This is a normal {name}. In it, you see {seen}."
    looks = self._looks(obj)
    if looks:
      return f"This is a {looks} {name}."
    if obj in self._state.having["toggled"] and obj in game.able["toggleable"]:
      return f"This {name} is on."
    if obj in self._state.having["sliced"] and obj in game.able["sliceable"]:
      return f"This is a sliced {name}."
    return f"There's nothing special about {name}."

  def _looks(self, obj: str) -> str:
    """Adjectives for a hot, cool or clean object, "" if it is none of these."""
    hot, cool, clean, sliced = (
      obj in self._state.having[k] for k in ("hot", "cool", "clean", "sliced")
    )
    if clean and (hot or cool):
      looks = "hot and clean" if hot else "cool and clean"
    elif clean:
      looks = "clean"
    elif hot:
      looks = "hot"
    elif cool:
      looks = "cool" if sliced else "cold"
    else:
      return ""
    return looks + " sliced" if sliced else looks

  def _do_open(self, receptacle: str) -> str:
    self._state.having["opened"].add(receptacle)
    name = self.game.names[receptacle]
    return f"You open the {name}. {self._do_examine_receptacle(receptacle)}"

  def _do_close(self, receptacle: str) -> str:
    self._state.having["opened"].discard(receptacle)
    return f"You close the {self.game.names[receptacle]}."

  def _do_take(self, obj: str, receptacle: str) -> str:
    self._state.contents[receptacle].remove(obj)
    self._state.lying.discard((obj, self._state.location))
    self._state.taken.add((obj, receptacle))
    self._state.held = obj
    names = self.game.names
    return f"You pick up the {names[obj]} from the {names[receptacle]}."

  def _do_move(self, obj: str, receptacle: str) -> str:
    if obj not in self._state.contents[receptacle]:
      bisect.insort(self._state.contents[receptacle], obj)
    self._state.lying.add((obj, self._state.location))
    self._state.taken.discard((obj, receptacle))
    self._state.held = None
    names = self.game.names
    return f"You move the {names[obj]} to the {names[receptacle]}."

  def _do_use(self, obj: str) -> str:
    self._state.having["toggled"].add(obj)
    return f"You turn on the {self.game.names[obj]}."

  def _do_heat(self, obj: str, receptacle: str) -> str:
    self._state.having["hot"].add(obj)
    self._state.having["cool"].discard(obj)
    return self._using("heat", obj, receptacle)

  def _do_cool(self, obj: str, receptacle: str) -> str:
    self._state.having["cool"].add(obj)
    self._state.having["hot"].discard(obj)
    return self._using("cool", obj, receptacle)

  def _do_clean(self, obj: str, receptacle: str) -> str:
    self._state.having["clean"].add(obj)
    return self._using("clean", obj, receptacle)

  def _using(self, verb: str, obj: str, receptacle: str) -> str:
    names = self.game.names
    return f"You {verb} the {names[obj]} using the {names[receptacle]}."

  def _do_slice(self, obj: str, knife: str) -> str:
    self._state.having["sliced"].add(obj)
    names = self.game.names
    return f"You sliced the {names[obj]} with the {names[knife]}."


COMMANDS = "\n\nCommands: "


def listed(commands: Iterable[str]) -> str:
  """The commands as the end of an observation; "help" has no effect and is left out."""
  return COMMANDS + ", ".join(sorted(set(commands) - {"help"})) + "."


def _enumerate(items: Iterable[str]) -> str:
  """'nothing', 'x', 'x, and y', 'x, y, and z'."""
  items = list(items)
  if not items:
    return "nothing"
  if len(items) == 1:
    return items[0]
  return f"{', '.join(items[:-1])}, and {items[-1]}"
