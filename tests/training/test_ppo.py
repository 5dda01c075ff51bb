"""The value head is trained with the policy, however the batch is split."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from empg_jax import algorithms
from empg_jax.checkpoint import Checkpointer, read_part
from empg_jax.distributed import sharding
from empg_jax.models import lora
from empg_jax.models.decoder import Decoder, DecoderConfig
from empg_jax.models.value_head import ValueHead
from empg_jax.training import state as states
from empg_jax.training.score import token_stats
from empg_jax.training.step import train_step
from empg_jax.types import Batch

ROWS, LENGTH, VOCAB = 8, 16, 20
CONFIG = DecoderConfig(VOCAB, 16, 24, 1, 2, 1, 8)
PPO = dict(name="ppo", gamma=0.9, value_coef=1.0)
EMPG = algorithms.make("empg", base=PPO)
OPTIMIZER = optax.sgd(0.1)


def head(scale):
  """A head with random weights."""
  weight = scale * jax.random.normal(jax.random.key(5), (CONFIG.hidden_size,))
  made = ValueHead(CONFIG.hidden_size)
  made.weight[...], made.bias[...] = weight, jnp.float32(scale)
  return made


def fresh(scale=0.1):
  return states.create(Decoder(CONFIG, jax.random.key(0)), OPTIMIZER, head(scale))


@pytest.fixture(scope="module")
def batch():
  """Episodes of two turns and a filler row, with the statistics of the state's policy."""
  rng = np.random.default_rng(0)
  steps = np.tile([0, 0, 1, 1, 1, 0, 0, 2, 2, 0, 0, 0, 0, 0, 0, 0], (ROWS, 1)).astype(np.int32)
  steps[1, 4], steps[2, 9], steps[3, 5:] = 0, 2, 0
  steps[-1] = 0
  ids = rng.integers(1, VOCAB, (ROWS, LENGTH + 1)).astype(np.int32)
  won = rng.integers(0, 2, (ROWS, 1)).astype(np.float32)
  last = steps == np.maximum(steps.max(axis=1, keepdims=True), 1)
  blank = np.zeros((ROWS, LENGTH), np.float32)
  batch = Batch(
    tokens=ids[:, :-1],
    actions=ids[:, 1:],
    steps=steps,
    behavior_logprobs=blank,
    behavior_entropy=blank,
    rewards=np.where(last, won, 0).astype(np.float32),
    anchors=steps,
    returns=won[:, 0],
    group_ids=np.arange(ROWS, dtype=np.int32),
    episode_ids=np.arange(ROWS, dtype=np.int32),
  )
  batch = jax.tree.map(jnp.asarray, batch)
  score = jax.jit(lambda model, rows: token_stats(model, rows, compute_dtype="float32"))
  logprobs, entropy = (jnp.where(steps > 0, x, 0) for x in score(fresh().model, batch))
  return dataclasses.replace(batch, behavior_logprobs=logprobs, behavior_entropy=entropy)


def update(state, batch, **changes):
  arguments = dict(algorithm=EMPG, optimizer=OPTIMIZER, size=ROWS) | changes
  return train_step(jax.tree.map(jnp.copy, state), batch, **arguments)


@pytest.fixture(scope="module")
def updated(batch):
  return update(fresh(), batch)


def assert_same(one, other):
  for a, b in zip(jax.tree.leaves(one[0].trained), jax.tree.leaves(other[0].trained)):
    np.testing.assert_allclose(a, b, atol=1e-5)
  for name in one[1].keys() & other[1].keys():
    np.testing.assert_allclose(one[1][name], other[1][name], rtol=2e-4, atol=1e-5, err_msg=name)


def test_an_update_is_the_gradient_of_both_losses(batch, updated):
  """The policy loss with EMPG's advantages and the value loss, without train_step."""
  state = fresh()

  @jax.jit
  def gradient(trained):
    old = trained.value_head(trained.model(batch.tokens))
    rows = dataclasses.replace(batch, values=old)
    signal, _ = EMPG.advantages(rows, rows.behavior_entropy)

    def loss(trained):
      hidden = trained.model(batch.tokens)
      stats = token_stats(trained.model, rows, compute_dtype="float32")
      of_policy, _ = EMPG.loss(stats, signal, rows, None)
      started = (batch.steps > 0) & (batch.steps != jnp.pad(batch.steps[:, :-1], ((0, 0), (1, 0))))
      tokens = jnp.sum(batch.steps[:, :, None] == batch.steps[:, None, :], axis=2)
      weights = jnp.where(started, tokens, 0) / jnp.sum(batch.steps > 0)
      error = trained.value_head(hidden) - signal.targets
      return of_policy + jnp.sum(weights * error**2) / 2

    return jax.grad(loss)(trained)

  after, metrics = updated
  steps = gradient(state.trained)
  for a, x, g in zip(*map(jax.tree.leaves, (after.trained, state.trained, steps))):
    np.testing.assert_allclose(a, x - 0.1 * g, atol=1e-5)
  assert np.any(after.value_head.weight[...] != state.value_head.weight[...])
  assert metrics["loss/value"] > 0 and metrics["loss/value_clip_fraction"] == 0
  np.testing.assert_allclose(
    metrics["loss/total"], metrics["loss/policy"] + metrics["loss/value"], rtol=1e-5
  )


@pytest.mark.parametrize(
  "changes", [dict(size=2, lengths=(9,)), dict(size=4, entropies="recomputed")], ids=str
)
def test_microbatches_and_a_pass_for_entropies_change_nothing(batch, updated, changes):
  assert_same(update(fresh(), batch, **changes), updated)


def test_a_sharded_update_equals_that_of_one_device(batch, updated):
  mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
  state = sharding.place(fresh(), mesh)
  with jax.set_mesh(mesh):
    got = train_step(
      state, sharding.to_mesh(batch, mesh), algorithm=EMPG, optimizer=OPTIMIZER, size=ROWS
    )
  assert_same(got, updated)
  assert got[0].value_head.weight[...].sharding.is_fully_replicated


@pytest.fixture(scope="module")
def adapted(batch):
  """Adapters and a new head after some epochs: (base, state before, state, metrics of each)."""
  base = Decoder(CONFIG, jax.random.key(0))
  optimizer = states.make_optimizer(learning_rate=0.02)
  adapters = lora.create(base, jax.random.key(1), rank=2)
  before = state = states.create(adapters, optimizer, ValueHead(CONFIG.hidden_size))
  arguments = dict(
    algorithm=algorithms.make("ppo", kl_coef=0.01), optimizer=optimizer, size=4, minibatches=2,
    epochs=3, base=base, reference=base,
  )  # fmt: skip
  rows = []
  for _ in range(4):
    state, metrics = update(state, batch, **arguments)
    rows.append(metrics)
  return base, before, state, rows


def test_values_learn_to_predict_returns_with_adapters(adapted):
  _, before, state, rows = adapted
  first, last = rows[0], rows[-1]
  assert first["value/mean"] == 0 and first["update/skipped"] == last["update/skipped"] == 0
  assert last["value/explained_variance"] > first["value/explained_variance"] + 0.1
  assert last["loss/value"] < 0.7 * first["loss/value"]
  moved = jax.tree.map(lambda a, b: np.any(a != b), before.trained, state.trained)
  assert all(jax.tree.leaves(moved))


def test_a_checkpoint_has_the_head_and_gives_the_policy_without_it(adapted, tmp_path):
  _, before, state, _ = adapted
  checkpointer = Checkpointer(tmp_path)
  checkpointer.save(1, state)
  restored = checkpointer.restore(before).state
  checkpointer.close()
  jax.tree.map(np.testing.assert_array_equal, restored, state)
  assert np.any(restored.value_head.weight[...] != 0)
  alone = read_part(tmp_path / "1", {"model": before.model})["model"]
  jax.tree.map(np.testing.assert_array_equal, alone, state.model)


def test_a_state_without_a_head_is_refused(batch):
  without = states.create(fresh().model, OPTIMIZER)
  with pytest.raises(ValueError, match="no value head and the algorithm does estimate values"):
    update(without, batch)
  with pytest.raises(ValueError, match="a value head and the algorithm does not estimate values"):
    update(fresh(), batch, algorithm=algorithms.make("grpo"))
