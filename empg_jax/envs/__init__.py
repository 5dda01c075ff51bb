"""Environments: tasks and actions as text in, observations as text out; jax is never imported.

Each is a module or folder, found by its name (`find`), which has

    make(**config.env) -> Env             an environment, which plays any of its tasks
    tasks(split, **config.tasks) -> list  the names of a split's tasks, always in the same order
    task_type(task) -> str                the type of a task, for success by type

and may have

    SCORE                                 the name in info of an episode's score, 0 to 1;
                                          default: "won"
    REPLY                                 which replies hold an action: overrides the defaults
                                          think, lower and cjk below; config.chat overrides it
    expert(rng)                           plays one episode: act(observation, played) returns a
                                          thought and an action; `played` is the action before
    choices(env, observation)             the actions among which a random agent chooses
    PLAIN                                 arguments of `make` for these two, over config.env
    demonstrations(seed, **options)       yields an expert's episodes without end
    prompt(first, turns, observation, window=n)
                                          a turn as a prompt of its own, for rows of one turn
    INSTRUCTIONS                          the first text for a model that was not cloned
    PHRASES                               phrases that are single pieces in the vocabulary of a
                                          tiny policy
"""

from collections.abc import Callable, Mapping
import functools
from types import ModuleType
from typing import Any, NamedTuple, Protocol, runtime_checkable

from empg_jax.config import lookup

_NEEDED = ("make", "tasks", "task_type")
_OPTIONAL = ("expert", "choices", "demonstrations", "prompt")
_REPLY = {
  "think": True,  # a reply needs both think tags before its <action>command</action>
  "lower": False,  # the command is lower-cased
  "cjk": True,  # a reply may hold Chinese characters
}
_DEFAULTS: dict[str, Any] = {
  "SCORE": "won", "REPLY": _REPLY, "PLAIN": {}, "INSTRUCTIONS": "", "PHRASES": ()
}  # fmt: skip


class Step(NamedTuple):
  """The answer to one action. An invalid one aborts the episode (`_shared/answers.py`).

  Attributes:
    observation: what the agent reads next.
    reward: the reward of this step alone, a number that is not NaN and at most 1e15.
    done: True when the episode has ended; only `reset` may follow.
    info: plain values for logging and scoring (None, bool, number, str, list, dict); `won`
      among them, True or False, says whether the episode counts as a success so far.
  """

  observation: str
  reward: float
  done: bool
  info: dict[str, Any]


class DemoTurn(NamedTuple):
  """One turn of a demonstration."""

  observation: str  # before the action
  thought: str  # the expert's
  action: str  # the one that was played
  trained: bool  # False: noise, not the expert's action


class Demonstration(NamedTuple):
  """One episode of an expert."""

  task: str
  turns: tuple[DemoTurn, ...]
  won: bool


@runtime_checkable
class Env(Protocol):
  """One environment, playing one episode at a time.

  An environment can be pickled at any time, also in the middle of an episode.
  """

  def reset(self, task: str) -> str:
    """Starts an episode of `task`, a name from the task list; returns the first observation."""
    ...

  def step(self, action: str) -> Step:
    """Plays one action. Raises ValueError before the first `reset` and after the end."""
    ...

  def close(self) -> None:
    """Releases the environment's resources; it may be called more than once."""
    ...


@runtime_checkable
class Remote(Env, Protocol):
  """An environment in another process, which works while others do."""

  def ask(self, method: str, text: str) -> None:
    """Begins a reset or a step; the call of that method with that text then waits for it."""
    ...

  def ready(self, most_s: float = 0.0) -> bool:
    """Whether that call would return at once; waits so many seconds for news, if not."""
    ...


class Fault(Exception):
  """A failure of an environment in another process; `kind` is one of FAULTS."""

  def __init__(self, kind: str, message: str):
    super().__init__(message)
    self.kind = kind


def find(name: str) -> ModuleType:
  """The environment of this folder with this name, or your own module, `my_lab.my_env`.

  The result has all names above: missing constants have their defaults, missing functions are
  None (`need`), and calls of `tasks` and `task_type` check their results.

  Raises:
    ValueError: there is no such module, or it is not an environment; the message says why.
  """
  module = lookup.find_or_import(__name__, name)
  own = vars(module)
  lacking = [part for part in _NEEDED if own.get(part) is None]
  if lacking:
    raise ValueError(
      f"{name} is no environment: it has no {', '.join(lacking)}; {__name__} lists what it must"
      " have"
    )
  for part in (*_NEEDED, *_OPTIONAL):
    if own.get(part) is not None and not callable(own[part]):
      raise ValueError(f"{name} is no environment: its {part} is {own[part]!r:.80}, no function")
  for part, default in _DEFAULTS.items():
    if not isinstance(own.get(part, default), type(default)):
      wanted = f"want a {type(default).__name__}"
      raise ValueError(f"{name} is no environment: its {part} is {own[part]!r:.80}, {wanted}")
  reply = own.get("REPLY", {})
  if unknown := [key for key, value in reply.items() if type(value) is not type(_REPLY.get(key))]:
    wanted = f"want True or False for {', '.join(_REPLY)}"
    raise ValueError(f"{name} is no environment: its REPLY has {unknown[0]!r:.80}, {wanted}")
  environment = ModuleType(module.__name__, module.__doc__)
  vars(environment).update(dict.fromkeys(_OPTIONAL) | _DEFAULTS | own | {"REPLY": _REPLY | reply})
  environment.tasks = _checked_tasks(module.tasks, name)
  environment.task_type = _checked_type(module.task_type, name)
  return environment


def need(environment: ModuleType, part: str, wanted_for: str) -> Any:
  """An optional function of an environment; raises ValueError, with its use, if it is missing."""
  found = getattr(environment, part, None)
  if found is None:
    raise ValueError(
      f"{wanted_for} needs the function {part} of {environment.__name__}, which has none:"
      f" {__name__} says what it does"
    )
  return found


def score(environment: ModuleType, info: Mapping[str, Any]) -> float:
  """The score of an episode that ended with this info; 0 if it has no such number."""
  value = info.get(environment.SCORE)
  return float(value) if isinstance(value, (bool, int, float)) else 0.0


def _checked_tasks(tasks: Callable[..., Any], name: str) -> Callable[..., list[str]]:
  @functools.wraps(tasks)
  def checked(split: str, **options: Any) -> list[str]:
    found = tasks(split, **options)
    names = [] if isinstance(found, str) else list(found)
    if not names or not all(isinstance(task, str) for task in names):
      raise ValueError(
        f"tasks({split!r}) of {name} returned {found!r:.80}: want a list of strings, one or more"
      )
    return names

  return checked


def _checked_type(task_type: Callable[[str], Any], name: str) -> Callable[[str], str]:
  @functools.wraps(task_type)
  def checked(task: str) -> str:
    found = task_type(task)
    if not isinstance(found, str):
      raise ValueError(f"task_type({task!r:.80}) of {name} returned {found!r:.80}: want a string")
    return found

  return checked


# Why an episode was aborted: its process ended, did not answer in time or held too much memory; the
# answer was invalid; the environment raised; its first observation was too long.
FAULTS = ("crash", "hang", "memory", "garbage", "error", "opening")


def check_probabilities(**values: float) -> None:
  """Raises ValueError, with its name, if a value is not in [0, 1)."""
  for name, value in values.items():
    if not 0 <= value < 1:
      raise ValueError(f"{name} must be a probability below 1, got {value!r}.")
