"""Environments: they take a task and actions as text and answer with text; jax is never imported.

One module or folder each, found by its name, with

    make(**config.env) -> Env             an environment, which plays any of its tasks
    tasks(split, **config.tasks) -> list  the names of a split's tasks, always in the same order
    task_type(task) -> str                what a table of successes is broken down by
    SCORE                                 the number in info that scores an episode, 0 to 1
    expert(rng)                           plays one episode: act(observation, played) gives a
                                          thought and an action; `played` is the action before
    choices(env, observation)             the actions among which a random agent chooses
    PLAIN                                 what `make` is given for these two, over config.env
    demonstrations(seed, **options)       an expert's episodes without end
    prompt(first, turns, observation, window=n)
                                          a turn as a prompt of its own, for rows of one turn
    INSTRUCTIONS                          what a model that was not cloned is told first, and
    PHRASES                               words that stay whole, for the vocabulary of a tiny
                                          policy that is cloned from them
"""

from types import ModuleType
from typing import Any, NamedTuple, Protocol, runtime_checkable

from empg_jax import lookup

_NEEDED = ("make", "tasks", "task_type")


class Step(NamedTuple):
  """The answer to one action. What is none costs its episode (`_shared/answers.py`).

  Attributes:
    observation: what the agent reads next.
    reward: the reward of this step alone, a finite number.
    done: True when the episode has ended; only `reset` may follow.
    info: plain values for logging and scoring (None, bool, number, str, list, dict); `won`
      among them, True or False, says whether the episode counts as a success by now.
  """

  observation: str
  reward: float
  done: bool
  info: dict[str, Any]


class DemoTurn(NamedTuple):
  """One turn of a demonstration."""

  observation: str  # what was read before acting
  thought: str  # the expert's
  action: str  # what was played
  trained: bool  # False: noise, not the expert's action


class Demonstration(NamedTuple):
  """One episode of an expert."""

  task: str
  turns: tuple[DemoTurn, ...]
  won: bool


@runtime_checkable
class Env(Protocol):
  """One environment, playing one episode at a time.

  An environment can be pickled at any moment, also in the middle of an episode, so
  worker processes can hold it.
  """

  def reset(self, task: str) -> str:
    """Starts an episode of `task`, a name from the task list; the first observation."""
    ...

  def step(self, action: str) -> Step:
    """Plays one action. ValueError before the first `reset` and after the end."""
    ...

  def close(self) -> None:
    """Gives back what the environment holds; it may be called more than once."""
    ...


@runtime_checkable
class Remote(Env, Protocol):
  """An environment that works elsewhere, beside others."""

  def ask(self, method: str, text: str) -> None:
    """Begins a reset or a step; the call of that method with that text then waits for it."""
    ...


class Fault(Exception):
  """What befell an environment that works elsewhere; `kind` is one of FAULTS."""

  def __init__(self, kind: str, message: str):
    super().__init__(message)
    self.kind = kind


def find(name: str) -> ModuleType:
  """The module of an environment: of this folder by its name, of yours as `my_lab.my_env`.

  Raises:
    ValueError: there is no such module, or it lacks what no environment can do without.
  """
  module = lookup.find_or_import(__name__, name)
  lacking = [part for part in _NEEDED if not hasattr(module, part)]
  if lacking:
    raise ValueError(f"{name} is no environment: it has no {', '.join(lacking)}")
  return module


# Why an episode was aborted: its process ended, gave no answer in time or held too much memory; it
# answered with what is no answer; the environment raised; its first observation was too long.
FAULTS = ("crash", "hang", "memory", "garbage", "error", "opening")


def check_probabilities(**values: float) -> None:
  """Raises ValueError, which names the value, if one is not in [0, 1)."""
  for name, value in values.items():
    if not 0 <= value < 1:
      raise ValueError(f"{name} must be a probability below 1, got {value!r}.")
