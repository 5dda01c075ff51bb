"""Endless demonstrations: the expert plays newly drawn ALFWorld games.

No game is one of the embedded validation games. Some actions are noise in place of the
expert's, either admissible or without effect, so that a policy sees how to recover; such
turns are not trained on.
"""

from collections.abc import Iterator, Sequence
import random
import re

from empg_jax.envs import Demonstration, DemoTurn, check_probabilities
from empg_jax.envs.alfworld.embedded import validation_contents
from empg_jax.envs.alfworld.engine import Engine, listed
from empg_jax.envs.alfworld.expert import Expert
from empg_jax.envs.alfworld.game import parse_game
from empg_jax.envs.alfworld.generate import stream
from empg_jax.envs.alfworld.problem import game, name
from empg_jax.envs.alfworld.rooms import TRAIN_ROOMS

MAX_TURNS = 50
FUTILE = 0.2  # share of the noise that is mostly not admissible

_NAME = re.compile(r"\b\w+ \d+$|\b\w+ \d+(?= )")


# Single pieces of the vocabulary: punctuation, so that "apple 2," shares its pieces with
# "apple 2", and the game's fixed phrases, so that transcripts are short.
PHRASES = (
  "\n", ",", ".", ":", ", a", ", and a",
  "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room."
  " Looking quickly around you, you see a",
  "Your task is to:", "You arrive at", " On the", ", you see a", ", you see nothing.", " In it",
  " is closed.", " is open.", "You open the", "You close the", "You pick up the", "You move the",
  "You heat the", "You cool the", "You clean the", "You turn on the", " using the", " from the",
  " to the", "Nothing happens.", "The",
)  # fmt: skip


def demonstrations(
  seed: int | str,
  size: str,
  rooms: Sequence[int] = TRAIN_ROOMS,
  noise: float = 0.1,
  show_commands: bool = False,
) -> Iterator[Demonstration]:
  """Endless demonstrations, the six task types in turn; the same for the same arguments.

  Args:
    seed: of games, expert and noise.
    size: of the games, "small" or "full".
    rooms: in which they play.
    noise: probability with which a turn is not the expert's, in [0, 1).
    show_commands: as for AlfWorld.

  Raises:
    ValueError: noise is out of range, or no room suits a task type.
  """
  check_probabilities(noise=noise)
  barred = validation_contents()
  for index, spec in enumerate(stream(seed, size, rooms)):
    if spec.content() not in barred:
      rng = random.Random(f"{seed}/{size}/{index}/play")
      task = name(spec, f"trial_D{index:08d}")
      yield _play(task, Engine(parse_game(game(spec))), rng, noise, show_commands)


def _play(
  task: str, engine: Engine, rng: random.Random, noise: float, show_commands: bool
) -> Demonstration:
  expert = Expert(rng)
  observation, played = engine.intro, None
  turns = []
  while len(turns) < MAX_TURNS and not engine.won():
    thought, action = expert.act(observation, played)
    played = _something_else(rng, engine, action) if rng.random() < noise else action
    shown = observation + (listed(engine.commands) if show_commands else "")
    turns.append(DemoTurn(shown, thought, played, played == action))
    observation = engine.step(played)
  return Demonstration(task, tuple(turns), engine.won())


def _something_else(rng: random.Random, engine: Engine, action: str) -> str:
  """An action other than the expert's, drawn from sorted ones: the engine's order varies."""
  others = sorted(engine.commands.keys() - {action, "help"})
  if rng.random() >= FUTILE:
    return rng.choice(others)
  # The expert's action with another name in it: well-formed, and mostly without effect.
  name = rng.choice(sorted(set(engine.game.names.values())))
  return _NAME.sub(name, action, count=1)
