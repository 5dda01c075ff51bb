"""The official engine, TextWorld, with the interface of the native one.

It needs the extra `textworld` (the packages textworld, alfworld and
fast-downward-textworld), takes about 2 s to start a game and 0.1 s a step, and serves for
comparison. TextWorld keeps parsers and the command line's arguments in globals: a lock
guards the former, the latter are restored.
"""

from collections.abc import Iterator, Mapping
import contextlib
import importlib.util
import os
import pathlib
import re
import sys
import tempfile
import threading
import weakref

_MISSING = "backend='textworld' needs the official engine: pip install 'empg-jax[textworld]'"
_LOCK = threading.Lock()


@contextlib.contextmanager
def _globals_kept() -> Iterator[None]:
  """Restores what TextWorld and ALFWorld change: sys.argv and ALFWORLD_DATA."""
  argv, data = sys.argv, os.environ.get("ALFWORLD_DATA")
  if data is None:  # ALFWorld creates the folder that this names
    os.environ["ALFWORLD_DATA"] = tempfile.gettempdir()
  try:
    yield
  finally:
    sys.argv = argv
    if data is None:
      del os.environ["ALFWORLD_DATA"]


try:
  with _globals_kept():
    from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
    import textworld
    from textworld.envs import PddlEnv
except ImportError as e:
  raise ImportError(_MISSING) from e

_INFOS = textworld.EnvInfos(won=True, admissible_commands=True)
# Planners that no episode uses now. Each has loaded a copy of the planner's library, which leaks
# when dropped and crashes when unloaded, so planners are reused.
_IDLE: list[PddlEnv] = []


class TextWorldEngine:
  """One episode of a game on TextWorld, as `engine.Engine` is natively.

  It is pickled as the game and the commands so far, and played again when unpickled.

  Attributes:
    intro: the first text: the room and the task.
    commands: the possible commands, sorted.
  """

  intro: str
  commands: list[str]

  def __init__(self, game: Mapping[str, object]):
    """Starts a game file's dict; texts that embedded games leave out are filled in."""
    self._game = game
    self._history: list[str] = []
    with _LOCK, _globals_kept():
      engine = _IDLE.pop() if _IDLE else PddlEnv(_INFOS)
      weakref.finalize(self, _IDLE.append, engine)
      self._env = AlfredDemangler(engine)
      self._env.load(complete_game(game))
      state = self._env.reset()
    self.intro = state["feedback"]
    self.commands = state["admissible_commands"]
    self._won = state["won"]

  def step(self, command: str) -> str:
    """Plays `command`, or nothing if it is not among `commands`; returns the observation."""
    with _LOCK:
      state, _, _ = self._env.step(command)
    self._history.append(command)
    self.commands = state["admissible_commands"]
    self._won = state["won"]
    return state["feedback"]

  def won(self) -> bool:
    """Whether the goal is reached now."""
    return self._won

  def __getstate__(self) -> tuple[Mapping[str, object], list[str]]:
    return self._game, self._history

  def __setstate__(self, state: tuple[Mapping[str, object], list[str]]) -> None:
    game, history = state
    self.__init__(game)
    for command in history:
      self.step(command)


def complete_game(game: Mapping[str, object]) -> dict[str, object]:
  """The game with the PDDL domain and the whole grammar, from the package alfworld.

  The two are the same in all games but for the task's sentence, so embedded games hold
  only that sentence. A game that is complete comes back as it is.
  """
  grammar = str(game["grammar"])
  if "pddl_domain" in game and "action GotoLocation" in grammar:
    return dict(game)
  spec = importlib.util.find_spec("alfworld")
  if spec is None:
    raise ImportError(_MISSING)
  folder = pathlib.Path(spec.submodule_search_locations[0]) / "data"
  task = re.search(r"Your task is to: (.*?)\"", grammar).group(1)
  rules = (folder / "alfred.twl2").read_text(encoding="utf-8")
  return {
    **game,
    "pddl_domain": (folder / "alfred.pddl").read_text(encoding="utf-8"),
    "grammar": rules.replace("UNKNOWN GOAL.", task).replace("UNKNOWN GOAL", task),
  }
