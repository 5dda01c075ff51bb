"""Players of ALFWorld without a policy, for comparison."""

import random

from empg_jax.envs.alfworld.expert import Expert

# Arguments of `make` with which the expert can read observations.
PLAIN = dict(show_commands=False)


def expert(rng: random.Random) -> Expert:
  """Plays one episode."""
  return Expert(rng)


def choices(env, observation: str) -> list[str]:
  """The possible commands."""
  del observation
  return env.admissible_commands
