"""Every method of the presets updates the policy, from episodes to parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from empg_jax import algorithms
from empg_jax.config import presets
from empg_jax.models.decoder import Decoder, DecoderConfig
from empg_jax.models.value_head import ValueHead
from empg_jax.rollout.pack import deal, pack
from empg_jax.training import state as states
from empg_jax.training.step import train_step
from empg_jax.types import Episode, Turn

VOCAB, OPTIMIZER = 20, optax.sgd(0.1)


def played(rng, group, index):
  """An episode of one to three turns that is won or lost."""
  ids = lambda n: rng.integers(1, VOCAB, n).astype(np.int32)
  turns = []
  for _ in range(rng.integers(1, 4)):
    n = int(rng.integers(1, 4))
    turns.append(
      Turn(
        tuple(ids(2).tolist()), ids(n), -rng.random(n, np.float32), rng.random(n, np.float32),
        f"room {rng.integers(2)}", "", "go", 0.0,
      )
    )  # fmt: skip
  reward = float(index % 2)
  last = turns[-1]
  turns[-1] = Turn(**{**vars(last), "reward": reward})
  return Episode("task", group, index, tuple(turns), reward, bool(reward), "done", {})


@pytest.fixture(scope="module")
def updates():
  """{method: (state, metrics)} after an update of each, all in one program."""
  rng = np.random.default_rng(0)
  episodes = [played(rng, group, index) for group in (0, 1) for index in range(3)]
  batch = jax.tree.map(jnp.asarray, pack(deal(episodes, 4, 8), lengths=[16], multiple=8))
  model = Decoder(DecoderConfig(VOCAB, 16, 24, 1, 2, 1, 8), jax.random.key(0))
  state = states.create(model, OPTIMIZER)
  with_head = states.create(model, OPTIMIZER, ValueHead(16))

  @jax.jit
  def every(state, with_head, batch):
    result = {}
    for name in presets.METHODS:
      config = presets.with_method(presets.tiny(""), name)
      train = config["train"] | dict(size=4, lengths=(), compute_dtype="float32")
      algorithm = algorithms.make(**config["algorithm"])
      result[name] = train_step.__wrapped__(
        with_head if algorithm.value_loss else state, batch, algorithm=algorithm,
        optimizer=OPTIMIZER, **train,
      )  # fmt: skip
    return result

  return with_head, every(state, with_head, batch)


@pytest.mark.parametrize("name", presets.METHODS)
def test_it_changes_the_policy(updates, name):
  before, after = updates
  state, metrics = after[name]
  assert all(np.isfinite(x) for x in metrics.values())
  assert metrics["update/grad_norm"] > 1e-4 and metrics["update/skipped"] == 0
  before = before if state.value_head else before._replace(value_head=None)
  moved = jax.tree.map(lambda a, b: np.any(a != b), before.trained, state.trained)
  assert all(jax.tree.leaves(moved))
  assert ("empg/g_mean" in metrics) == name.endswith("empg")
  assert ("aem/g_mean" in metrics) == name.endswith("aem")
