"""Who plays ALFWorld without a policy, to compare one with."""

import random

from empg_jax.envs.alfworld.expert import Expert

# What `make` has to be given for the expert to be able to read.
PLAIN = dict(show_commands=False)


def expert(rng: random.Random) -> Expert:
  """Plays one episode."""
  return Expert(rng)


def choices(env, observation: str) -> list[str]:
  """The commands that can be given now."""
  del observation
  return env.admissible_commands
