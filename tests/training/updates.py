"""A small batch, a state to update on it, and how two updates compare."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

from empg_jax import algorithms
from empg_jax.models.decoder import Decoder, DecoderConfig
from empg_jax.training import state as states
from empg_jax.training.score import token_stats
from empg_jax.training.step import train_step
from empg_jax.types import Batch

ROWS, LENGTH, VOCAB = 8, 24, 20
CONFIG = DecoderConfig(VOCAB, 16, 24, 2, 2, 1, 8)
EMPG = algorithms.make("empg", zeta=0.1, base={"name": "grpo", "kl_coef": 0.0})
OPTIMIZER = optax.sgd(0.1)  # Adam would amplify rounding where a gradient is nearly 0


def new_state():
  return states.create(Decoder(CONFIG, jax.random.key(0)), OPTIMIZER)


def small_batch():
  """Two groups of four episodes of ragged steps, the last row a filler."""
  rng = np.random.default_rng(0)
  steps = np.zeros((ROWS, LENGTH), np.int32)
  for row in range(ROWS - 1):
    place, number = int(rng.integers(1, 4)), 0
    while place < LENGTH - 4 and number < 3:
      number += 1
      length = int(rng.integers(1, 4))
      steps[row, place : place + length] = number
      place += length + int(rng.integers(1, 4))
  ids = rng.integers(1, VOCAB, (ROWS, LENGTH + 1)).astype(np.int32)
  model = Decoder(CONFIG, jax.random.key(0))
  ids = jnp.asarray(ids)
  blank = np.zeros((ROWS, LENGTH), np.float32)
  groups = np.repeat([0, 1], 4).astype(np.int32)
  groups[-1] = 9
  batch = Batch(
    rewards=blank,
    anchors=steps,
    tokens=ids[:, :-1],
    actions=ids[:, 1:],
    steps=steps,
    behavior_logprobs=blank,
    behavior_entropy=blank,
    returns=rng.integers(0, 2, ROWS).astype(np.float32),
    group_ids=groups,
    episode_ids=np.arange(ROWS, dtype=np.int32),
  )
  stats = token_stats(model, batch, temperature=1.0, compute_dtype="float32", remat=False)
  logprobs, entropy = (np.where(steps > 0, x, 0) for x in stats)
  batch = dataclasses.replace(batch, behavior_logprobs=logprobs, behavior_entropy=entropy)
  return jax.tree.map(jnp.asarray, batch)


def update(state, batch, **changes):
  arguments = dict(algorithm=EMPG, optimizer=OPTIMIZER, size=ROWS) | changes
  state = jax.tree.map(jnp.copy, state)
  return train_step(state, batch, **arguments)


def assert_same(one, other, atol=1e-5):
  (one_state, one_metrics), (other_state, other_metrics) = one, other
  for a, b in zip(jax.tree.leaves(one_state.model), jax.tree.leaves(other_state.model)):
    np.testing.assert_allclose(a, b, atol=atol)
  assert all(name.startswith("mismatch/") for name in one_metrics.keys() ^ other_metrics.keys())
  for name in one_metrics.keys() & other_metrics.keys():
    np.testing.assert_allclose(
      one_metrics[name], other_metrics[name], atol=1e-4, rtol=1e-4, err_msg=name
    )
