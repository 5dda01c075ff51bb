"""What every environment is: it takes a task and actions as text and answers with text."""

from typing import Any, NamedTuple, Protocol


class Step(NamedTuple):
  """The answer to one action.

  Attributes:
    observation: what the agent reads next.
    reward: the reward of this step alone.
    done: True when the episode has ended; only `reset` may follow.
    info: plain values for logging and scoring (bool, number, str, list, dict).
  """

  observation: str
  reward: float
  done: bool
  info: dict[str, Any]


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
