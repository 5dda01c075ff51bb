"""Sampling for agents: replies and episodes of random lengths, environments with latency."""

import time
from typing import Any

import jax
import numpy as np

from empg_jax.benchmark import _timing
from empg_jax.generation.policy import Policy
from empg_jax.models.decoder import Decoder

_REPLY = 512  # the most tokens of a reply
_MEDIAN, _SIGMA = 60, 0.8  # of its lognormal length
_GROUP = 8  # episodes that begin with the same prompt
_LATENCY = (0.05, 0.5)  # seconds of an environment's step, uniformly distributed
_WINDOWS = (256, 512, 1024, 1536, 2048, 3072, 4096)


def measure(
  model: Decoder,
  dtype: str,
  *,
  slots: int,
  episodes: int,
  turns: int,
  prompt: int,
  observation: int,
) -> dict[str, Any]:
  """Plays episodes whose replies have lognormal lengths.

  Args:
    model: with random parameters.
    dtype: operand dtype of the matrix products.
    slots: conversations at a time, distributed over the devices.
    episodes: to play; each has 1 to 2 `turns` turns.
    turns: the mean number of turns of an episode.
    prompt: tokens that all members of a group of 8 begin with in `shared`.
    observation: tokens read in any other turn.

  Returns:
    For `instant` steps, for steps with `latency`, as in worker processes, and for `shared`
    prompts: seconds, tokens/s, utilisation, and the seconds in which devices read and were idle.
  """
  plans = _plans(np.random.default_rng(0), episodes, turns)
  written = max(sum(plan) + observation * (len(plan) - 1) for plan in plans)
  longest = max(prompt, observation) + written + _REPLY
  sets = len(jax.local_devices())
  policy = Policy(
    model, slots=-(-slots // sets), max_length=longest, max_reply=_REPLY, end_id=-1,
    compute_dtype=dtype, piece_lengths=(observation + 1, 4 * (observation + 1)),
    windows=[w for w in _WINDOWS if w < longest],
  )  # fmt: skip
  kinds = {
    "instant": dict(),
    "latency": dict(latency=_LATENCY),
    "shared": dict(prompt=prompt),
  }
  _play(policy, plans, observation, prompt=prompt)  # compiles
  return {name: _timed(policy, plans, observation, **kind) for name, kind in kinds.items()}


def _plans(rng: np.random.Generator, episodes: int, turns: int) -> list[list[int]]:
  """The lengths of the replies of each episode."""
  counts = rng.integers(1, 2 * turns, episodes, endpoint=True)
  lengths = lambda n: np.clip(rng.lognormal(np.log(_MEDIAN), _SIGMA, n), 1, _REPLY).astype(int)
  return [lengths(n).tolist() for n in counts]


def _timed(policy: Policy, plans, observation: int, **kind) -> dict[str, Any]:
  policy.take_usage()
  wall, cpu = time.perf_counter(), time.process_time()
  _play(policy, plans, observation, **kind)
  wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
  usage = policy.take_usage()
  return {
    "wall_s": wall,
    "cpu_s": cpu,
    "tokens": usage.tokens,
    "tokens_per_s": usage.tokens / wall,
    "tokens_per_cpu_s": usage.tokens / cpu,
    "utilisation": usage.tokens / usage.slot_steps,
    "read_s": usage.read_s,
    "write_s": usage.write_s,
    "idle_s": usage.idle_s,
  }


def _play(policy: Policy, plans, observation: int, *, prompt: int = 0, latency=(0.0, 0.0)) -> None:
  """Plays all episodes in free slots."""
  rng = np.random.default_rng(1)
  ids = lambda n: rng.integers(1, 100, n).tolist()
  prompts = [ids(prompt or observation) for _ in range(-(-len(plans) // _GROUP))]
  sets = [policy.start(i, jax.random.key(0)) for i in range(policy.sets)]
  free = [(at, slot) for slot in range(policy.slots) for at in range(policy.sets)][::-1]
  begun, playing, due = 0, {}, {}
  while begun < len(plans) or playing:
    while free and begun < len(plans):
      where, begun = free.pop(), begun + 1
      playing[where], due[where] = [begun - 1, 0], 0.0
    now, ran = time.monotonic(), False
    for at, slots in enumerate(sets):
      for slot, *_ in slots.ended():
        playing[at, slot][1] += 1
        due[at, slot] = now + rng.uniform(*latency)
      for where in [w for w, answered in due.items() if w[0] == at and answered <= now]:
        del due[where]
        episode, turn = playing[where]
        if turn == len(plans[episode]):
          del playing[where]
          free.append(where)
          continue
        piece = ids(observation) if turn else prompts[episode // _GROUP]
        slots.read(where[1], piece, episode, turn, most=plans[episode][turn])
      ran |= slots.run()
    if not ran and due:
      time.sleep(max(min(due.values()) - time.monotonic(), 0))


def show(dtype: str, results: dict[str, Any]) -> str:
  """The results as text."""
  header = (f"{dtype} replies of random length", "tokens/s", "utilisation", "CPU s", "read s",
            "write s", "idle s")  # fmt: skip
  rows = [
    (
      name, f"{x['tokens_per_s']:,.0f}", f"{x['utilisation']:.0%}", f"{x['cpu_s']:.1f}",
      f"{x['read_s']:.1f}", f"{x['write_s']:.1f}", f"{x['idle_s']:.1f}",
    )
    for name, x in results.items()
  ]  # fmt: skip
  return _timing.table(header, rows)
