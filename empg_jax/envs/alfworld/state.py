"""The state of an ALFWorld game: the possible commands, and whether it is won."""

from collections.abc import Iterable

from empg_jax.envs.alfworld.game import Game

_KNIVES = ("knifetype", "butterknifetype")
# Changes of an object in hand: the verb, the property that it needs, and the receptacles.
_CHANGES = (
  ("heat", "heatable", ("microwavetype",)),
  ("cool", "coolable", ("fridgetype",)),
  ("clean", "cleanable", ("sinktype", "sinkbasintype")),
)


class State:
  """The places and states of everything. Locations, objects and receptacles are ids.

  Attributes:
    game: the constant part.
    location: the player's.
    held: the object in hand, if any.
    contents: the objects in or on each receptacle, in the order of their ids.
    lying: pairs of an object and the location it is at.
    taken: pairs of an object and a receptacle it was taken from.
    having: the objects that are hot, cool, clean, sliced, toggled, and the receptacles
      that are opened.
  """

  def __init__(self, game: Game):
    self.game = game
    self.location = game.start
    self.held: str | None = None
    self.contents: dict[str, list[str]] = {r: [] for r in game.receptacles}
    for obj, receptacle in game.placed:
      self.contents[receptacle].append(obj)
    self.lying = set(game.lying)
    self.taken: set[tuple[str, str]] = set()
    self.having = {k: set(v) for k, v in game.states.items()}

  def commands(self) -> dict[str, tuple[str, ...]]:
    """The possible commands, each with its verb and ids."""
    game, names = self.game, self.game.names
    here = game.receptacles_at[self.location]
    found: dict[str, tuple[str, ...]] = {
      command: ("go", r) for command, r in game.go_to[self.location]
    }
    found["look"] = ("look",)
    found["inventory"] = ("inventory",)
    found["help"] = ("help",)
    for r in here:
      found["examine " + names[r]] = ("examine_receptacle", r)
      if r in game.able["openable"]:
        verb = "close" if r in self.having["opened"] else "open"
        found[f"{verb} {names[r]}"] = (verb, r)
      can_take = self.held is None and self._reachable(r)
      for obj in self.contents[r]:
        if can_take and obj in game.able["pickupable"]:
          found[f"take {names[obj]} from {names[r]}"] = ("take", obj, r)
        if obj in game.able["toggleable"]:
          found["use " + names[obj]] = ("use", obj)
    if self.held is not None:
      self._add_commands_in_hand(found, self.held, here)
    return found

  def _add_commands_in_hand(
    self, found: dict[str, tuple[str, ...]], held: str, here: Iterable[str]
  ) -> None:
    """Adds the commands for the object in hand."""
    game, names = self.game, self.game.names
    found["examine " + names[held]] = ("examine_object", held)
    kind = game.types.get(held)
    for r in here:
      place = game.types.get(r)
      if (place, kind) in game.can_contain and self._reachable(r):
        found[f"move {names[held]} to {names[r]}"] = ("move", held, r)
      for verb, ability, places in _CHANGES:
        if place in places and held in game.able[ability]:
          found[f"{verb} {names[held]} with {names[r]}"] = (verb, held, r)
    if kind in _KNIVES:
      for obj, location in self.lying:
        if location == self.location and obj in game.able["sliceable"]:
          found[f"slice {names[obj]} with {names[held]}"] = ("slice", obj, held)

  def _reachable(self, receptacle: str) -> bool:
    openable = self.game.able["openable"]
    return receptacle not in openable or receptacle in self.having["opened"]

  def won(self) -> bool:
    """Whether the goal is reached now."""
    game, goal = self.game, self.game.goal
    if goal.lamp_type is not None:
      return game.types.get(self.held) == goal.object_type and any(
        game.types.get(obj) == goal.lamp_type and obj in self.having["toggled"]
        for receptacle in game.receptacles_at[self.location]
        for obj in self.contents[receptacle]
      )
    return any(
      game.types.get(receptacle) == goal.receptacle_type
      and goal.count
      <= sum(
        game.types.get(obj) == goal.object_type
        and all(game.has_state(self.having, obj, s) for s in goal.states)
        for obj in contents
      )
      for receptacle, contents in self.contents.items()
    )
