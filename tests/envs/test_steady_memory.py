"""What an environment holds does not grow with the steps that are played in it."""

import random

import psutil
import pytest

from empg_jax import lookup


def play(env, environment, tasks, rng, steps):
  """So many steps, of which every tenth is no action."""
  while steps > 0:
    observation, done = env.reset(rng.choice(tasks)), False
    for _ in range(min(steps, 25)):
      choice = rng.choice(environment.choices(env, observation))
      observation, _, done, _ = env.step("zzz" if rng.random() < 0.1 else choice)
      steps -= 1
      if done:
        break


@pytest.mark.parametrize(
    ("name", "steps"), [("alfworld", 6000), ("webshop", 4000), ("deep_search", 1200)]
)
def test_memory_stays_as_it_is(name, steps):
  environment = lookup.find("empg_jax.envs", name)
  # As many games as the cache of parsed ones, and files that are mapped, are all seen at first.
  env, tasks = environment.make(**environment.PLAIN), environment.tasks("train")[:20]
  rng = random.Random(0)
  play(env, environment, tasks, rng, steps)
  before = psutil.Process().memory_full_info().uss
  play(env, environment, tasks, rng, steps)
  # A kilobyte kept of every step would be more.
  assert psutil.Process().memory_full_info().uss - before < 2**20
