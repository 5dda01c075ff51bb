"""ALFWorld: household tasks in text, on embedded games or on the official ones.

Task names are `<games>/<split>/<type-Object-Movable-Receptacle-Room>/<trial>`, the
latter two as ALFWorld names its folders. For example:

    env = make()
    print(env.reset(tasks("train", games="small")[0]))
    observation, reward, done, info = env.step("go to fridge 1")
"""

from collections.abc import Callable, Iterable, Sequence
import functools
import os
from typing import Protocol, runtime_checkable

from empg_jax.envs import Step
from empg_jax.envs._shared.window import windowed_prompt
from empg_jax.envs.alfworld import embedded, official
from empg_jax.envs.alfworld.demos import PHRASES as PHRASES, demonstrations as demonstrations
from empg_jax.envs.alfworld.engine import COMMANDS, Engine, listed
from empg_jax.envs.alfworld.game import Game, parse_game
from empg_jax.envs.alfworld.players import PLAIN as PLAIN, choices as choices, expert as expert
from empg_jax.envs.alfworld.rooms import TASK_TYPES

GAMES = ("small", "full", "official")
SPLITS = ("train", "valid_seen", "valid_unseen")
SCORE = "won"
BACKENDS = ("native", "textworld")

# As in verl-agent: commands are in lower case, and a reply in Chinese is invalid.
REPLY = {"think": True, "lower": True, "cjk": False}

# Comes before the first observation, for a model that was not cloned from the expert.
INSTRUCTIONS = """\
You act in a household, in text. Each message tells you what you see; the first one also names \
your task. Commands that can be given now are listed at the end of a message. Nothing but the \
commands you give changes the room, and an episode is over once the task is done.

Answer every message with one thought and one command, in exactly this form:
<think>what you know, what is still missing, what to do next</think><action>one of the \
listed commands, word for word</action>"""


@runtime_checkable
class _Playing(Protocol):
  """The interface of both engines: one episode of a game."""

  intro: str
  commands: Iterable[str]

  def step(self, command: str) -> str: ...

  def won(self) -> bool: ...


class AlfWorld:
  """ALFWorld as an `Env`: at the goal the reward is 1 and the episode ends; before, it is 0.

  `step` answers with info {"won": bool, "admissible_commands": sorted list of str}. An
  action that is not admissible is answered by "Nothing happens.".
  """

  def __init__(self, *, backend: str = "native", show_commands: bool = False):
    """Plays any task, on the engine `backend`.

    Args:
      backend: "native", the engine in plain Python, or "textworld", the official one,
        which needs the extra `textworld` and takes a thousand times as long.
      show_commands: whether each observation ends with a list of the possible commands.
    """
    _check("backend", backend, BACKENDS)
    if backend == "textworld":
      _textworld()  # raises at once if the extra is missing
    self._backend = backend
    self._show_commands = show_commands
    self._engine: _Playing | None = None
    self._done = False

  def reset(self, task: str) -> str:
    """Starts `task`; returns a text with the room, its receptacles and the task.

    Raises:
      ValueError: an unknown task, or a broken game file.
      FileNotFoundError: no such official game where ALFWORLD_DATA points.
    """
    if not isinstance(task, str):
      raise ValueError(f"a task must be a str, got {task!r}: take it from tasks(split, games)")
    self.close()
    if self._backend == "textworld":
      self._engine = _textworld()(read_game(task))
    else:
      self._engine = Engine(_parsed(task, os.environ.get("ALFWORLD_DATA")))
    self._done = False
    return self._engine.intro + self._listed(self._engine.commands)

  def step(self, action: str) -> Step:
    """Plays `action`, without blanks around it."""
    engine = self._playing()
    if self._done:
      raise ValueError("this episode has ended: call reset(task) before the next step")
    if not isinstance(action, str):
      raise TypeError(f"an action must be a str, got {type(action).__name__}")
    observation = engine.step(action)
    self._done = won = engine.won()
    commands = sorted(engine.commands)
    observation += "" if won else self._listed(commands)
    info = {"won": won, "admissible_commands": commands}
    return Step(observation, float(won), won, info)

  @property
  def admissible_commands(self) -> list[str]:
    """The possible commands, sorted; also before the first step."""
    return sorted(self._playing().commands)

  def close(self) -> None:
    """Ends the episode, if there is one."""
    self._engine = None

  def _listed(self, commands: Iterable[str]) -> str:
    return listed(commands) if self._show_commands else ""

  def _playing(self) -> _Playing:
    if self._engine is None:
      raise ValueError("there is no episode yet: call reset(task) before the first step")
    return self._engine


make = AlfWorld


def prompt(
  first: str, turns: Sequence[tuple[str, str | None]], observation: str, *, window: int
) -> str:
  """A turn as a prompt of its own; past observations come without their lists of commands.

  Args:
    first: the episode's first observation, which names the task.
    turns, observation, window: see envs._shared.window.
  """
  brief = lambda text: text.partition(COMMANDS)[0]
  task = "Your task is to: " + brief(first).rpartition("Your task is to: ")[2]
  past = [(brief(seen), action) for seen, action in turns]
  return windowed_prompt(task, past, observation, window)


def tasks(split: str, *, games: str = "small") -> list[str]:
  """The names of all tasks of a split, always in the same order.

  Args:
    split: one of SPLITS.
    games: "small" or "full", the embedded sets, or "official", the games in the folder
      that ALFWORLD_DATA names.

  Raises:
    ValueError: an unknown split or set of games.
    FileNotFoundError: no official games where ALFWORLD_DATA points.
  """
  _check("split", split, SPLITS)
  _check("games", games, GAMES)
  names = official.names(split) if games == "official" else embedded.load(games, split)
  return [f"{games}/{split}/{name}" for name in names]


def task_type(task: str) -> str:
  """The type of a task, one of the six `TASK_TYPES`."""
  kind = _parts(task)[2].split("-")[0]
  if kind not in TASK_TYPES:
    raise ValueError(f"task {task!r} is of unknown type {kind!r}: want one of {TASK_TYPES}")
  return kind


def read_game(task: str) -> dict:
  """The game file's dict of a task.

  Raises:
    ValueError: there is no such embedded game, or an official game's file is broken.
    FileNotFoundError: there is no such official game.
  """
  games, split, name = _parts(task)
  if games == "official":
    return official.read(split, name)
  try:
    return embedded.load(games, split)[name]
  except KeyError:
    raise ValueError(
      f"there is no task {task!r}: take one from tasks({split!r}, games={games!r})"
    ) from None


@functools.lru_cache(maxsize=64)
def _parsed(task: str, root: str | None) -> Game:
  """A game is immutable, so a group of episodes of one task shares it."""
  del root  # distinguishes games of the same name in different folders
  try:
    return parse_game(read_game(task))
  except ValueError as e:
    raise ValueError(f"cannot play {task!r}: {e}") from e


def _textworld() -> Callable[[dict], _Playing]:
  """The official engine; raises ImportError if the extra is not installed."""
  from empg_jax.envs.alfworld._textworld import TextWorldEngine

  return TextWorldEngine


def _parts(task: str) -> tuple[str, str, str]:
  games, _, rest = task.partition("/")
  split, _, name = rest.partition("/")
  _check("the task's first part", games, GAMES)
  _check("the task's second part", split, SPLITS)
  return games, split, name


def _check(what: str, value: str, known: tuple[str, ...]) -> None:
  if value not in known:
    raise ValueError(f"{what} must be one of {', '.join(known)}, got {value!r}")
