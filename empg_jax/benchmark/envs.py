"""Environments: CPU time of a reset and of a step of ALFWorld."""

from collections.abc import Sequence
import os
import random
import time
from typing import Any

from empg_jax.benchmark import _timing
from empg_jax.envs import alfworld


def measure(*, games: int, max_turns: int, repeats: int) -> dict[str, Any]:
  """Plays random admissible commands; results by set of games.

  Args:
    games: of the training split, played per repeat, different ones each time.
    max_turns: commands played per game.
    repeats: over which spreads are taken.

  Returns:
    For "full", and for "official" if ALFWORLD_DATA is set: `reset_ms` of a new game,
    `again_ms` of the game just played, `step_ms` (including the list of admissible
    commands), each a spread over the repeats' means, and `steps` played.
  """
  sets = ("full", "official") if os.environ.get("ALFWORLD_DATA") else ("full",)
  return {name: _measure_set(name, games, max_turns, repeats) for name in sets}


def _measure_set(name: str, games: int, max_turns: int, repeats: int) -> dict[str, Any]:
  rng = random.Random(0)
  tasks = alfworld.tasks("train", games=name)
  rng.shuffle(tasks)
  env = alfworld.make()
  env.reset(tasks[-1])  # one-time loading is not timed
  means, steps = [], 0
  for repeat in range(repeats):
    first = repeat * games
    chosen = [tasks[i % len(tasks)] for i in range(first, first + games)]
    played = [_play(env, task, max_turns, rng) for task in chosen]
    resets, agains, seconds, counts = zip(*played)
    steps += sum(counts)
    means.append((sum(resets) / games, sum(agains) / games, sum(seconds) / sum(counts)))
  in_ms = [_timing.spread([1e3 * x for x in column]) for column in zip(*means)]
  return {"reset_ms": in_ms[0], "again_ms": in_ms[1], "step_ms": in_ms[2], "steps": steps}


def _play(env, task, max_turns, rng) -> Sequence[float]:
  """CPU seconds of the first reset, of the second and of all steps; number of steps."""
  times = [time.process_time()]
  for _ in range(2):
    env.reset(task)
    times.append(time.process_time())
  seconds, count, commands = 0.0, 0, env.admissible_commands
  done = False
  while count < max_turns and not done:
    action = rng.choice(commands)
    start = time.process_time()
    _, _, done, info = env.step(action)
    commands = info["admissible_commands"]
    seconds += time.process_time() - start
    count += 1
  return times[1] - times[0], times[2] - times[1], seconds, count


def show(results: dict[str, Any]) -> str:
  """The results as text."""
  rows = [
    (
      name,
      _timing.show_spread(x["reset_ms"]),
      _timing.show_spread(x["again_ms"], 4),
      _timing.show_spread(x["step_ms"], 4),
      f"{x['steps']:,}",
    )
    for name, x in results.items()
  ]
  header = ("games", "reset", "reset of the same", "step", "steps")
  title = "ALFWorld: CPU ms, median (min-max); a step includes the admissible commands"
  return title + "\n" + _timing.table(header, rows)
