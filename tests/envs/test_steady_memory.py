"""What an environment holds does not grow with the steps that are played in it."""

import gc
import random
import tracemalloc

import pytest

from empg_jax.config import lookup

pytestmark = pytest.mark.slow


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


def held(env, environment, tasks, rng, steps):
  """Bytes that Python and NumPy hold once so many steps more have been played."""
  play(env, environment, tasks, rng, steps)
  gc.collect()
  return tracemalloc.get_traced_memory()[0]


@pytest.mark.parametrize(
  ("name", "steps"), [("alfworld", 3000), ("webshop", 2000), ("deep_search", 600)]
)
def test_memory_stays_as_it_is(name, steps):
  environment = lookup.find("empg_jax.envs", name)
  # As many games as the cache of parsed ones, and files that are mapped, are all seen at first.
  env, tasks = environment.make(**environment.PLAIN), environment.tasks("train")[:20]
  tracemalloc.start()
  try:
    first, second = (held(env, environment, tasks, random.Random(0), steps) for _ in range(2))
  finally:
    tracemalloc.stop()
  # Half a kilobyte kept of every step would be more.
  assert second - first < 2**18
