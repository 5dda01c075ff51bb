"""Episodes without a policy: of an expert, a random agent or a human."""

from collections.abc import Callable, Sequence
import random
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

import numpy as np

from empg_jax import envs
from empg_jax.config import config as configs
from empg_jax.envs import Env
from empg_jax.envs._shared import answers
from empg_jax.tracking import transcript
from empg_jax.types import Episode, Turn

AGENTS = ("policy", "expert", "random")


@runtime_checkable
class Agent(Protocol):
  """Plays one episode."""

  def act(self, observation: str, played: str | None) -> tuple[str, str]:
    """A thought and the next action, given the observation and the action before it."""
    ...


class GivenUp(Exception):
  """The human ended the input."""


class Human:
  """A human who reads observations on the terminal and types actions; Ctrl-D gives up."""

  def __init__(self, ask: Callable[[str], str] = input):
    self._ask, self._turn = ask, 0

  def act(self, observation: str, played: str | None) -> tuple[str, str]:
    del played
    self._turn += 1
    question = f"\n--- turn {self._turn}\n{transcript.printable(observation)}\n> "
    try:
      while not (typed := self._ask(question).strip()):
        question = "> "
    except EOFError:
      raise GivenUp from None
    return "", typed


def check(environment: ModuleType, name: str) -> None:
  """Raises ValueError unless the environment has what an agent of this name needs."""
  if part := {"expert": "expert", "random": "choices"}.get(name):
    envs.need(environment, part, f"--agent={name}")


def agent(environment: ModuleType, env: Env, name: str, seed: str) -> Agent:
  """An agent for one episode.

  Args:
    environment: the module of empg_jax.envs that `env` is of.
    env: the environment that it will play.
    name: "expert", "random" or "human".
    seed: of its random choices.
  """
  rng = random.Random(seed)
  if name == "human":
    return Human()
  return environment.expert(rng) if name == "expert" else _Random(environment, env, rng)


class _Random:
  """Chooses uniformly among the possible actions."""

  def __init__(self, environment: ModuleType, env: Env, rng: random.Random):
    self._environment, self._env, self._rng = environment, env, rng

  def act(self, observation: str, played: str | None) -> tuple[str, str]:
    del played
    return "", self._rng.choice(self._environment.choices(self._env, observation))


def collect(
  config: Any,
  environment: ModuleType,
  name: str,
  tasks: Sequence[str],
  *,
  seed: int,
  progress: Callable[[int], Any] | None = None,
) -> list[Episode]:
  """Plays every task once, with as many turns as a policy has.

  Args:
    config: of a launch script; its `env` and `rollout.max_turns` count.
    environment: the module of empg_jax.envs that it names.
    name: "expert" or "random".
    tasks: their names.
    seed: of the agent's random choices, together with the task's name.
    progress: called with the number of episodes that have just ended.

  Raises:
    ValueError: no episode could be played.
  """
  env = environment.make(**configs.arguments(config.env) | environment.PLAIN)
  episodes = []
  try:
    for place, task in enumerate(tasks):
      who = agent(environment, env, name, f"{seed}/{task}")
      episodes.append(play(env, who, task, max_turns=config.rollout.max_turns, group=place))
      if progress is not None:
        progress(1)
  finally:
    env.close()
  if episodes and all(episode.ended == "aborted" for episode in episodes):
    raise ValueError(
      f"The agent {name} could play no episode of {len(episodes)}; the first, of"
      f" {episodes[0].task}, ended with {episodes[0].info['error']}: choose tasks that it knows."
    )
  return episodes


def play(env: Env, agent: Agent, task: str, *, max_turns: int, group: int = 0) -> Episode:
  """One episode; its turns hold no tokens. An error ends it as "aborted", as in a rollout."""
  turns, info, ended, played = [], {}, "turns", None
  try:
    observation = answers.reset(env, task)
    while len(turns) < max_turns and ended == "turns":
      thought, played = agent.act(observation, played)
      step = answers.step(env, played)
      turns.append(_turn(observation, thought, played, step.reward))
      observation, info = step.observation, step.info
      ended = "done" if step.done else "turns"
  except GivenUp:
    info = {**info, "error": "given up"}
  except (Exception, SystemExit) as error:  # The evaluation goes on after any error.
    ended, info = "aborted", {**info, **answers.cause(error)}
  return Episode(
    task=task,
    group=group,
    index=0,
    turns=tuple(turns),
    reward=sum((turn.reward for turn in turns), start=0.0),
    success=ended != "aborted" and bool(info.get("won", False)),
    ended=ended,
    info=info,
  )


def _turn(observation: str, thought: str, action: str, reward: float) -> Turn:
  none = np.zeros(0, np.float32)
  text = f"<think>{thought}</think><action>{action}</action>" if thought else action
  return Turn((), none.astype(np.int32), none, none, observation, text, action, float(reward))
