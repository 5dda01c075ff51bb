"""Every algorithm of the folder keeps the same promises."""

import dataclasses
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from empg_jax import algorithms
from empg_jax.types import Batch, TokenStats

ROWS, LENGTH = 8, 12
NAMES = [m.name for m in pkgutil.iter_modules(algorithms.__path__) if not m.name.startswith("_")]


def make(name):
  return algorithms.make(name, **({"base": {"name": "grpo"}} if name == "empg" else {}))


@pytest.fixture(scope="module")
def batch():
  rng = np.random.default_rng(0)
  steps = np.tile([0, 0, 1, 1, 1, 0, 2, 2, 0, 3, 0, 0], (ROWS, 1)).astype(np.int32)
  steps[3, 9] = 0
  ids = rng.integers(0, 9, (ROWS, LENGTH + 1)).astype(np.int32)
  on_steps = lambda x: jnp.asarray(np.where(steps > 0, x, 0).astype(np.float32))
  return Batch(
      tokens=jnp.asarray(ids[:, :-1]),
      actions=jnp.asarray(ids[:, 1:]),
      steps=jnp.asarray(steps),
      behavior_logprobs=on_steps(-rng.random((ROWS, LENGTH))),
      behavior_entropy=on_steps(rng.random((ROWS, LENGTH))),
      returns=jnp.asarray(rng.integers(0, 2, ROWS).astype(np.float32)),
      group_ids=jnp.asarray(np.repeat([4, 2], 4).astype(np.int32)),
      episode_ids=jnp.arange(ROWS, dtype=jnp.int32),
  )


def value(algorithm, batch):
  signal, metrics = algorithm.advantages(batch, batch.behavior_entropy)
  stats = TokenStats(batch.behavior_logprobs - 0.1, batch.behavior_entropy)
  loss, sums = algorithm.loss(stats, signal, batch, None)
  return loss, signal, {**metrics, **sums}


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_under_jit_as_it_does_eagerly(name, batch):
  algorithm = make(name)
  eager, jitted = value(algorithm, batch), jax.jit(lambda b: value(algorithm, b))(batch)
  np.testing.assert_allclose(eager[0], jitted[0], rtol=1e-5)
  assert all(x.dtype == jnp.float32 and x.shape == () for x in jitted[2].values())


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_rows_and_filler_rows_change_nothing(name, batch):
  algorithm = make(name)
  order = np.random.default_rng(1).permutation(ROWS)
  filler = jax.tree.map(lambda x: jnp.concatenate([x[order], x[:2]]), batch)
  blank = lambda x: x.at[ROWS:].set(0)
  filler = dataclasses.replace(
      filler,
      steps=blank(filler.steps),
      behavior_logprobs=blank(filler.behavior_logprobs),
      behavior_entropy=blank(filler.behavior_entropy),
      episode_ids=jnp.concatenate([batch.episode_ids[order], jnp.array([90, 91])]),
  )
  want, got = value(algorithm, batch), value(algorithm, filler)
  np.testing.assert_allclose(got[0], want[0], rtol=1e-5)
  np.testing.assert_allclose(got[1].advantages[:ROWS], want[1].advantages[order], atol=1e-6)
  np.testing.assert_array_equal(got[1].advantages[ROWS:], 0)


@pytest.mark.parametrize("name", NAMES)
def test_other_peoples_tokens_carry_no_signal(name, batch):
  _, signal, _ = value(make(name), batch)
  np.testing.assert_array_equal(signal.advantages[batch.steps == 0], 0)
  np.testing.assert_array_equal(signal.weights[batch.steps == 0], 0)
  np.testing.assert_allclose(signal.weights.sum(), 1, rtol=1e-6)


def test_grpo_gives_equal_returns_no_signal(batch):
  equal = dataclasses.replace(batch, returns=jnp.ones(ROWS))
  _, signal, metrics = value(make("grpo"), equal)
  np.testing.assert_array_equal(signal.advantages, 0)
  assert metrics["batch/no_signal"] == 1


def test_empg_switched_off_is_its_base_centred_over_steps(batch):
  off = algorithms.make("empg", k=0.0, zeta=0.0, base={"name": "grpo"})
  _, base, _ = value(make("grpo"), batch)
  _, signal, _ = value(off, batch)
  steps = [
      base.advantages[b, batch.steps[b] == s][0]
      for b in range(ROWS) for s in (1, 2, 3) if (batch.steps[b] == s).any()
  ]  # fmt: skip
  want = np.where(batch.steps > 0, base.advantages - np.mean(steps), 0)
  np.testing.assert_allclose(signal.advantages, want, atol=1e-6)


def test_an_unknown_algorithm_is_answered_with_those_there_are():
  with pytest.raises(ValueError, match="grpo"):
    algorithms.make("grop")
