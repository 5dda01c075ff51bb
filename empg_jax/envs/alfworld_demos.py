"""Demonstrations without end: the expert plays freshly drawn ALFWorld games.

No game is one of the embedded validation games. Now and then something else is played
than the expert's action, either another admissible one or one that does nothing, so that
a policy sees how to go on from there; such a turn is not to be trained on.
"""

import random
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from empg_jax.envs.alfworld_embedded import validation_contents
from empg_jax.envs.alfworld_engine import Engine
from empg_jax.envs.alfworld_expert import Expert
from empg_jax.envs.alfworld_game import parse_game
from empg_jax.envs.alfworld_generate import stream
from empg_jax.envs.alfworld_problem import game, name
from empg_jax.envs.alfworld_rooms import TRAIN_ROOMS

MAX_TURNS = 50
FUTILE = 0.2  # share of the noise that is an action which is mostly not admissible

_NAME = re.compile(r"\b\w+ \d+$|\b\w+ \d+(?= )")


class DemoTurn(NamedTuple):
  observation: str  # what was read before acting
  thought: str  # the expert's
  action: str  # what was played
  trained: bool  # False: noise, not the expert's action


class Demonstration(NamedTuple):
  task: str  # the game's name
  turns: tuple[DemoTurn, ...]
  won: bool


def demonstrations(
    seed: int | str, size: str, rooms: Sequence[int] = TRAIN_ROOMS, noise: float = 0.1
) -> Iterator[Demonstration]:
  """Endless demonstrations, the six task types in turn; the same for the same arguments.

  Args:
    seed: of games, expert and noise.
    size: of the games, "small" or "full".
    rooms: in which they play.
    noise: probability with which a turn is not the expert's, in [0, 1).

  Raises:
    ValueError: noise is out of range, or no room suits a task type.
  """
  if not 0 <= noise < 1:
    raise ValueError(f"noise must be a probability below 1, got {noise!r}.")
  barred = validation_contents()
  for index, spec in enumerate(stream(seed, size, rooms)):
    if spec.content() not in barred:
      rng = random.Random(f"{seed}/{size}/{index}/play")
      task = name(spec, f"trial_D{index:08d}")
      yield _play(task, Engine(parse_game(game(spec))), rng, noise)


def _play(task: str, engine: Engine, rng: random.Random, noise: float) -> Demonstration:
  expert = Expert(rng)
  observation, played = engine.intro, None
  turns = []
  while len(turns) < MAX_TURNS and not engine.won():
    thought, action = expert.act(observation, played)
    played = _something_else(rng, engine, action) if rng.random() < noise else action
    turns.append(DemoTurn(observation, thought, played, played == action))
    observation = engine.step(played)
  return Demonstration(task, tuple(turns), engine.won())


def _something_else(rng: random.Random, engine: Engine, action: str) -> str:
  """An action other than the expert's; sorted, as the engine's order is not fixed."""
  others = sorted(engine.commands.keys() - {action, "help"})
  if rng.random() >= FUTILE:
    return rng.choice(others)
  # The expert's own action with another name in it: well-formed, and mostly futile.
  name = rng.choice(sorted(set(engine.game.names.values())))
  return _NAME.sub(name, action, count=1)
