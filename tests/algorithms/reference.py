"""Every algorithm in plain loops over NumPy float64, slow and obvious."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from empg_jax.types import Batch

ROWS, LENGTH = 8, 12


def drawn(seed=0) -> Batch:
  """Two groups of four episodes of at most three steps, one row each."""
  rng = np.random.default_rng(seed)
  steps = np.tile([0, 0, 1, 1, 1, 0, 2, 2, 0, 3, 0, 0], (ROWS, 1)).astype(np.int32)
  steps[3, 9] = steps[5, 6:] = 0
  groups = np.repeat([4, 2], 4).astype(np.int32)
  rewards = rng.choice([-0.1, 0.0, 1.0], (ROWS, 4)).astype(np.float32)
  seen = 1 + 3 * groups[:, None] + rng.integers(0, 3, (ROWS, 4))
  of_steps = lambda x: np.where(steps > 0, np.take_along_axis(x, steps, 1), 0)
  on_steps = lambda x: np.where(steps > 0, x, 0).astype(np.float32)
  ids = rng.integers(0, 9, (ROWS, LENGTH + 1)).astype(np.int32)
  played = np.array([[(row == s).any() for s in range(4)] for row in steps])
  played[:, 0] = False
  batch = Batch(
    tokens=ids[:, :-1],
    actions=ids[:, 1:],
    steps=steps,
    behavior_logprobs=on_steps(-rng.random((ROWS, LENGTH))),
    behavior_entropy=on_steps(rng.random((ROWS, LENGTH))),
    rewards=of_steps(rewards),
    anchors=of_steps(seen).astype(np.int32),
    returns=np.sum(rewards * played, axis=1, dtype=np.float32),
    group_ids=groups,
    episode_ids=np.arange(ROWS, dtype=np.int32),
    values=rng.normal(size=(ROWS, LENGTH)).astype(np.float32),
  )
  return jax.tree.map(jnp.asarray, batch)


def one_row_a_turn(batch: Batch) -> Batch:
  """The same steps, each in a row of its own."""
  numbers = np.asarray(batch.steps)
  places = [(b, s) for b in range(len(numbers)) for s in (1, 2, 3) if (numbers[b] == s).any()]
  rows = np.array([b for b, _ in places])
  step = np.array([s for _, s in places], np.int32)[:, None]
  own = numbers[rows] == step
  turns = jax.tree.map(lambda x: jnp.asarray(np.asarray(x)[rows]), batch)
  keep = lambda x: jnp.where(own, x, 0)
  names = ("steps", "behavior_logprobs", "behavior_entropy", "rewards", "anchors")
  return dataclasses.replace(turns, **{n: keep(getattr(turns, n)) for n in names})


def steps_of(batch):
  """{(episode, step number): [(row, time), ...]}, in order."""
  steps = {}
  for b, t in zip(*np.nonzero(batch.steps)):
    key = int(batch.episode_ids[b]), int(batch.steps[b, t])
    steps.setdefault(key, []).append((int(b), int(t)))
  return {key: steps[key] for key in sorted(steps)}


def mean_of_others(values, i):
  others = values[:i] + values[i + 1 :]
  return np.mean(others) if others else values[i]


def compared(values, groups, kind, ddof=0):
  """Each of {key: value} relative to the values of equal {key: group}."""
  result = {}
  for key in values:
    members = [other for other in values if groups[other] == groups[key]]
    r = [float(values[other]) for other in members]
    if kind == "leave one out":
      result[key] = r[members.index(key)] - mean_of_others(r, members.index(key))
    else:
      centred = values[key] - np.mean(r)
      std = np.std(r, ddof=ddof if len(r) > 1 else 0)
      result[key] = centred / (std + 1e-6) if kind == "std" else centred
  return result


def of_episodes(batch, kind="std", ddof=0):
  steps = steps_of(batch)
  first = {e: places[0][0] for (e, _), places in reversed(steps.items())}
  values = {e: float(batch.returns[b]) for e, b in first.items()}
  groups = {e: int(batch.group_ids[b]) for e, b in first.items()}
  a = compared(values, groups, kind, ddof)
  return {(e, s): a[e] for e, s in steps}


def returns_of_steps(batch, gamma):
  steps, returns = steps_of(batch), {}
  for e, s in reversed(steps):
    reward = float(batch.rewards[steps[e, s][0]])
    returns[e, s] = reward + gamma * returns.get((e, s + 1), 0.0)
  return returns


def of_steps(batch, gamma, groups, kind="std", ddof=0):
  groups = {key: int(groups[places[0]]) for key, places in steps_of(batch).items()}
  return compared(returns_of_steps(batch, gamma), groups, kind, ddof)


def gigpo(batch, ddof=0):
  steps = of_steps(batch, 0.95, batch.anchors, ddof=ddof)
  return {key: a + steps[key] for key, a in of_episodes(batch, ddof=ddof).items()}


def reinforce_pp(batch, gamma=1.0, ddof=0):
  """Relative to all tokens of the batch, each counted once."""
  steps = steps_of(batch)
  returns = {key: float(batch.returns[places[0][0]]) for key, places in steps.items()}
  if gamma < 1:
    returns = returns_of_steps(batch, gamma)
  of_tokens = [returns[key] for key, places in steps.items() for _ in places]
  mean, std = np.mean(of_tokens), np.std(of_tokens, ddof=ddof)
  return {key: (x - mean) / (std + 1e-6) for key, x in returns.items()}


def ppo(batch, gamma=1.0, lam=0.95):
  """Normalised over all steps."""
  a = {key: target - value for key, (value, target) in estimated(batch, gamma, lam).items()}
  mean, std = np.mean(list(a.values())), np.std(list(a.values()))
  return {key: (x - mean) / (std + 1e-6) for key, x in a.items()}


def estimated(batch, gamma=1.0, lam=0.95):
  """{step: (its value, its target)}."""
  steps, result = steps_of(batch), {}
  value = lambda key: float(batch.values[steps[key][0]]) if key in steps else 0.0
  for e, s in reversed(steps):
    v, next_v = value((e, s)), value((e, s + 1))
    next_value, next_target = result.get((e, s + 1), (0.0, 0.0))
    delta = float(batch.rewards[steps[e, s][0]]) + gamma * next_v - v
    result[e, s] = v, v + delta + gamma * lam * (next_target - next_value)
  return result


def entropies(batch):
  at = lambda places: np.mean([float(batch.behavior_entropy[p]) for p in places])
  return {key: at(places) for key, places in steps_of(batch).items()}


def normalised(h):
  low, high = min(h.values()), max(h.values())
  return {key: (x - low) / (high - low + 1e-8) for key, x in h.items()}


def aem(batch):
  a, h, group = of_episodes(batch), entropies(batch), {}
  for key, places in steps_of(batch).items():
    group.setdefault(int(batch.group_ids[places[0][0]]), []).append(key)
  for keys in group.values():
    g = {key: np.exp(-x) for key, x in normalised({key: h[key] for key in keys}).items()}
    a |= {key: a[key] * g[key] / np.mean(list(g.values())) for key in keys}
  return a


def empg(batch):
  a, h = of_episodes(batch), normalised(entropies(batch))
  mean = np.mean([np.exp(-x) for x in h.values()])
  for e, s in a:
    bonus = 0.05 * np.exp(-h[e, s + 1]) if (e, s + 1) in h else 0.0
    a[e, s] = a[e, s] * np.exp(-h[e, s]) / mean + bonus
  centre = np.mean(list(a.values()))
  return {key: x - centre for key, x in a.items()}


# {step: advantage} of each algorithm with its default arguments.
ADVANTAGES = {
  "grpo": of_episodes,
  "dapo": of_episodes,
  "gspo": of_episodes,
  "cispo": of_episodes,
  "dr_grpo": lambda batch: of_episodes(batch, "centred"),
  "rloo": lambda batch: of_episodes(batch, "leave one out"),
  "reinforce_pp": reinforce_pp,
  "gigpo": gigpo,
  "sampo": gigpo,
  "ppo": ppo,
  "aem": aem,
  "empg": empg,
}


def loss(name, logprobs, batch, advantages, length):
  """The mean of the tokens' surrogates, or over steps or episodes of their means."""
  steps = steps_of(batch)
  episodes = {e for e, _ in steps}
  tokens = sum(len(places) for places in steps.values())
  total = 0.0
  for places in steps.values():
    ratios = [np.exp(float(logprobs[p] - batch.behavior_logprobs[p])) for p in places]
    for (b, t), ratio in zip(places, ratios):
      low, high = {
        "dapo": (0.8, 1.28), "gspo": (1 - 3e-4, 1 + 4e-4), "sampo": (1 - 3e-4, 1 + 4e-4),
      }.get(name, (0.8, 1.2))  # fmt: skip
      if name in ("gspo", "sampo"):
        ratio = np.exp(np.mean(np.log(ratios)))
      a = float(advantages[b, t])
      value = -min(ratio * a, min(max(ratio, low), high) * a)
      if name == "cispo":
        value = -min(ratio, 5.0) * a * float(logprobs[b, t])
      weight = 1 / tokens
      if name in ("gspo", "sampo"):
        weight = 1 / len(steps) / len(places)
      if name == "dr_grpo":
        weight = 1 / len(episodes) / length
      total += weight * value
  return total
