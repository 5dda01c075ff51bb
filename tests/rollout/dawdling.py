"""ALFWorld whose every answer takes a random time, for tests with worker processes."""

import random
import time

from empg_jax.envs.alfworld import AlfWorld

_rng = random.Random()


class Dawdling(AlfWorld):
  def reset(self, task):
    time.sleep(_rng.uniform(0, 0.05))
    return super().reset(task)

  def step(self, action):
    time.sleep(_rng.uniform(0, 0.05))
    return super().step(action)


make = Dawdling
