"""Random batches in every layout of an agent's episodes."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

B, T, V = 6, 20, 11


class Case(NamedTuple):
  logits: np.ndarray
  actions: np.ndarray
  returns: np.ndarray
  step_mask: np.ndarray
  episode_ids: np.ndarray | None


def packed(rng, rows=B, gaps=False):
  """Step numbers of whole episodes, one per row, between tokens of the environment."""
  numbers = np.zeros((B, T), np.int32)
  for b in range(rows):
    t, step = int(rng.integers(0, 3)), 1
    while t < T:
      length = int(rng.integers(1, 5))
      numbers[b, t : t + length] = step
      t += length + int(rng.integers(1, 4))
      step += int(rng.integers(1, 4)) if gaps else 1
      if rng.random() < 0.15:
        break
  return numbers


def one_row_a_turn(rng):
  """Each row is one step of one of three episodes, in any order of rows."""
  episodes = rng.integers(0, 3, B)
  numbers = np.zeros((B, T), np.int32)
  for b, episode in enumerate(episodes):
    start, end = sorted(rng.choice(T + 1, 2, replace=False))
    numbers[b, start:end] = 1 + np.sum(episodes[:b] == episode)
  order = rng.permutation(B)
  return numbers[order], (100 - 7 * episodes[order]).astype(np.int32)


def case(kind: str, seed: int) -> Case:
  rng = np.random.default_rng(seed)
  logits = rng.normal(size=(B, T, V)).astype(np.float32) * rng.choice([0.5, 1, 5])
  numbers, episode_ids = packed(rng), None
  match kind:
    case "bool mask" | "bfloat16" | "extreme logits" | "equal entropies":
      numbers = numbers > 0
    case "filler rows":
      numbers = packed(rng, rows=4)
    case "missing numbers":
      numbers = packed(rng, gaps=True)
    case "one row a turn":
      numbers, episode_ids = one_row_a_turn(rng)
    case "turns of many rows":
      numbers, _ = one_row_a_turn(rng)
      episode_ids = rng.integers(-2, 2, B).astype(np.int32)
    case "one step":
      numbers[1:] = 0
      numbers[0, numbers[0] > 1] = 0
    case "no step":
      numbers = np.zeros_like(numbers)
    case "padded rows":
      numbers[:, T // 2 :] = 0
  match kind:
    case "bfloat16":
      logits = np.asarray(jnp.asarray(logits, jnp.bfloat16))
    case "extreme logits":
      logits = np.float32(1e4) * rng.integers(-1, 2, logits.shape)
    case "equal entropies":
      logits = np.zeros_like(logits) + np.float32(0.1) * rng.normal()
  return Case(
    logits,
    rng.integers(0, V, (B, T)).astype(np.int32),
    rng.normal(size=B).astype(np.float32),
    numbers,
    episode_ids,
  )


KINDS = (
  "packed",
  "bool mask",
  "one row a turn",
  "turns of many rows",
  "padded rows",
  "filler rows",
  "missing numbers",
  "one step",
  "no step",
  "equal entropies",
  "bfloat16",
  "extreme logits",
)
