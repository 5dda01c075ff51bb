"""The update is one program whose result no layout of the batch can change."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from empg_jax import algorithms, hardware, sharding
from empg_jax.core.modulation import modulate_advantages
from empg_jax.core.advantages import group_advantages
from empg_jax.kernels.attention import cudnn
from empg_jax.models import lora
from empg_jax.models.decoder import Decoder, DecoderConfig
from empg_jax.training import microbatch, state as states
from empg_jax.training.guard import check_finite
from empg_jax.training.score import token_stats
from empg_jax.training.step import train_step
from empg_jax.types import Batch

ROWS, LENGTH, VOCAB = 8, 24, 20
CONFIG = DecoderConfig(VOCAB, 16, 24, 2, 2, 1, 8)
EMPG = algorithms.make("empg", zeta=0.1, base={"name": "grpo", "kl_coef": 0.0})
OPTIMIZER = optax.sgd(0.1)  # Adam would blow up rounding where a gradient is all but 0


@pytest.fixture
def state():
  return states.create(Decoder(CONFIG, jax.random.key(0)), OPTIMIZER)


@pytest.fixture(scope="module")
def batch():
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


@pytest.mark.parametrize(
    "changes",
    [
        dict(size=2),
        dict(size=2, lengths=(8, 12, 20)),
        dict(remat=True),
        dict(entropies="recomputed"),
        dict(entropies="recomputed", size=4),
    ],
    ids=str,
)
def test_microbatches_lengths_and_recomputing_change_nothing(state, batch, changes):
  assert_same(update(state, batch), update(state, batch, **changes))


def test_padding_and_the_order_of_rows_change_nothing(state, batch):
  longer = jax.tree.map(
      lambda x: jnp.pad(x, ((0, 0), (0, 9))) if x.ndim == 2 else x, batch
  )
  order = np.random.default_rng(1).permutation(ROWS)
  shuffled = jax.tree.map(lambda x: x[order], batch)
  want = update(state, batch)
  assert_same(want, update(state, longer))
  assert_same(want, update(state, shuffled))


@pytest.mark.parametrize(
    "axes",
    [dict(data=8), dict(data=2, fsdp=2, tensor=2), dict(fsdp=4), dict(fsdp=2, tensor=4)],
    ids=str,
)
def test_eight_devices_compute_what_one_does(state, batch, axes):
  mesh = sharding.make_mesh(**axes)
  want = update(state, batch, size=4)
  state = sharding.place(jax.tree.map(jnp.copy, state), mesh)
  with jax.set_mesh(mesh):
    got = train_step(
        state, sharding.to_mesh(batch, mesh), algorithm=EMPG, optimizer=OPTIMIZER,
        size=4 if mesh.shape["data"] < 8 else 8,
    )  # fmt: skip
  assert_same(got, want)
  for x, place in zip(*map(jax.tree.leaves, (got[0], sharding.shardings(got[0], mesh)))):
    assert x.sharding.is_equivalent_to(place, x.ndim)


def test_eight_gpus_compute_what_one_device_does(batch, monkeypatch):
  """The GPU's layout, with cuDNN's attention as XLA computes it."""
  model = Decoder(DecoderConfig(VOCAB, 16, 24, 2, 4, 2, 4), jax.random.key(0))
  state = states.create(model, OPTIMIZER)
  want = update(state, batch)
  monkeypatch.setattr(hardware, "current", lambda: hardware.GPU)
  monkeypatch.setattr(hardware.Platform, "attention_of", lambda *_: "cudnn")
  called, causal = [], functools.partial(cudnn.causal, implementation="xla")
  monkeypatch.setattr(cudnn, "causal", lambda *args: called.append(args) or causal(*args))
  mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
  state = sharding.place(state, mesh)
  with jax.set_mesh(mesh):
    got = train_step(
        state, sharding.to_mesh(batch, mesh), algorithm=EMPG, optimizer=OPTIMIZER, size=ROWS,
        remat=True,
    )  # fmt: skip
  assert called
  assert_same(got, want)


def test_advantages_are_those_of_one_device(batch):
  mesh = sharding.make_mesh(data=2, fsdp=4)
  want, _ = EMPG.advantages(batch, batch.behavior_entropy)
  rows = sharding.to_mesh(batch, mesh)
  with jax.set_mesh(mesh):
    got, _ = jax.jit(EMPG.advantages)(rows, rows.behavior_entropy)
  np.testing.assert_allclose(got.advantages, want.advantages, atol=1e-5)


def test_the_signal_is_grpo_modulated_by_step_entropy(batch):
  signal, metrics = EMPG.advantages(batch, batch.behavior_entropy)
  a = group_advantages(
      batch.returns, batch.group_ids, exists=(batch.steps > 0).any(1)
  )
  want = modulate_advantages(a, batch.behavior_entropy, batch.steps, zeta=0.1)
  np.testing.assert_allclose(signal.advantages, want, atol=1e-6)
  np.testing.assert_allclose(signal.weights.sum(), 1.0, rtol=1e-6)
  np.testing.assert_allclose(metrics["empg/g_mean"], 1.0, rtol=1e-5)


def test_on_policy_nothing_is_clipped_and_the_ratio_is_one(state, batch):
  _, metrics = update(state, batch)
  assert metrics["loss/clip_fraction"] == 0
  np.testing.assert_allclose(metrics["loss/behavior_kl"], 0, atol=1e-9)


def test_tokens_that_were_not_sampled_have_no_say(state, batch):
  other = dataclasses.replace(
      batch, actions=jnp.where(batch.steps > 0, batch.actions, 1)
  )
  assert_same(update(state, batch), update(state, other))


@pytest.mark.parametrize("name", ["grpo", "dr_grpo"])
def test_minibatches_and_epochs_are_optimizer_steps_one_after_the_other(state, batch, name):
  """Each a mean over its own rows."""
  algorithm = algorithms.make(name, **({"length": 9.0} if name == "dr_grpo" else {}))
  got = update(state, batch, algorithm=algorithm, size=2, minibatches=2, epochs=2)
  signal, _ = algorithm.advantages(batch, batch.behavior_entropy)

  @jax.jit
  def gradient(model, rows):
    part, share = jax.tree.map(lambda x: jnp.asarray(x)[rows], (batch, signal))
    votes = jnp.sum(signal.votes) / jnp.sum(share.votes)
    share = share._replace(weights=share.weights * votes)

    def loss(model):
      stats = token_stats(model, part, temperature=1.0, compute_dtype="float32", remat=False)
      return algorithm.loss(stats, share, part, None)[0]

    return jax.grad(loss)(model)

  current = state.model
  # split() puts rows m, m + 4 into microbatch m; minibatch n takes microbatches n, n + 2.
  for rows in ([0, 4, 2, 6], [1, 5, 3, 7]) * 2:
    step = gradient(current, jnp.array(rows))
    current = jax.tree.map(lambda x, g: x - 0.1 * g, current, step)
  for a, b in zip(jax.tree.leaves(got[0].model), jax.tree.leaves(current)):
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_sampler_of_other_probabilities_is_corrected_for(state, batch):
  """Recorded with half the probability: a token counts twice, or at most `truncation` times."""
  off = dataclasses.replace(batch, behavior_logprobs=batch.behavior_logprobs - jnp.log(2.0))
  before = lambda x, y: jax.tree.map(jnp.subtract, x.model, y.model)
  new, plain = update(state, batch)
  true = before(new, state)
  for truncation, weight in ((1.5, 1.5), (4.0, 2.0)):
    got, metrics = update(state, off, truncation=truncation)
    for a, b in zip(*map(jax.tree.leaves, (before(got, state), true))):
      np.testing.assert_allclose(a, weight * b, atol=2e-5)
    np.testing.assert_allclose(metrics["mismatch/ratio_max"], 2, rtol=1e-4)
    np.testing.assert_allclose(metrics["mismatch/truncated"], truncation < 2, rtol=1e-4)
    np.testing.assert_allclose(metrics["loss/clip_fraction"], 0)
    for name in ("loss/ratio", "loss/entropy"):  # the other terms are no policy gradient
      np.testing.assert_allclose(metrics[name], plain[name], rtol=1e-4)


def test_one_compilation_for_a_shape(state, batch):
  before = train_step._cache_size()
  current = jax.tree.map(jnp.copy, state)
  for _ in range(3):
    current, _ = train_step(
        current, batch, algorithm=EMPG, optimizer=OPTIMIZER, size=4,
        temperature=0.9,
    )  # fmt: skip
  assert train_step._cache_size() == before + 1


def test_the_state_is_donated(state, batch):
  given = jax.tree.map(jnp.copy, state)
  train_step(given, batch, algorithm=EMPG, optimizer=OPTIMIZER, size=8)
  assert all(x.is_deleted() for x in jax.tree.leaves(given.model))


def test_a_non_finite_update_is_skipped_counted_and_stops_when_it_repeats(state, batch):
  bad = dataclasses.replace(batch, returns=jnp.full(ROWS, jnp.nan))
  current = jax.tree.map(jnp.copy, state)
  for step in range(1, 4):
    current, metrics = update(current, bad)
    assert metrics["update/skipped"] == step and metrics["update/finite"] == 0
    if step < 3:
      check_finite(int(current.skipped), step)
  jax.tree.map(np.testing.assert_array_equal, current.model, state.model)
  with pytest.raises(FloatingPointError, match="not finite in 3 updates in a row, up to step 3"):
    check_finite(int(current.skipped), 3)
  _, metrics = update(current, batch)
  assert metrics["update/skipped"] == 0 and metrics["update/finite"] == 1


def test_the_reference_policy_pulls_back(state, batch):
  algorithm = algorithms.make("empg", base={"name": "grpo", "kl_coef": 0.1})
  reference = jax.tree.map(lambda x: 1.2 * x, state.model)
  arguments = dict(algorithm=algorithm, optimizer=OPTIMIZER, size=4)
  copy = jax.tree.map(jnp.copy, state)
  _, metrics = train_step(copy, batch, reference, **arguments)
  assert metrics["loss/kl"] > 1e-4
  _, same = train_step(
      jax.tree.map(jnp.copy, state), batch, state.model, **arguments
  )
  np.testing.assert_allclose(same["loss/kl"], 0, atol=1e-9)


def test_rows_that_do_not_divide_are_told():
  with pytest.raises(ValueError, match="does not divide into 1 minibatch of microbatches of 3"):
    microbatch.check(8, 3)


def test_splitting_and_joining_gives_back_the_batch(batch):
  pieces = microbatch.split(batch, batch.steps > 0, 4)
  for piece, leaf in zip(pieces.leaves, jax.tree.leaves(batch)):
    np.testing.assert_array_equal(microbatch.join(piece), leaf)


def test_training_adapters_changes_them_alone(batch):
  base = Decoder(CONFIG, jax.random.key(0))
  before = jax.tree.map(np.asarray, base)
  adapters = lora.create(base, jax.random.key(1), rank=2)
  optimizer = states.make_optimizer(learning_rate=0.1)
  state = states.create(adapters, optimizer)
  trained = sum(x.size for x in jax.tree.leaves(adapters))
  assert sum(x.size for x in jax.tree.leaves(state)) < 3 * trained + 10  # and two moments
  penalised = algorithms.make("grpo", kl_coef=0.1)
  arguments = dict(algorithm=penalised, optimizer=optimizer, reference=base, base=base)
  state, first = update(state, batch, **arguments)
  assert first["loss/kl"] == 0  # the base is the reference
  assert all(np.any(b != 0) for b in state.model.b.values())
  _, second = update(state, batch, **arguments)
  assert second["loss/kl"] > 1e-4
  jax.tree.map(np.testing.assert_array_equal, base, before)


def test_fresh_adapters_have_the_loss_of_their_base(batch, state):
  base = Decoder(CONFIG, jax.random.key(0))
  adapters = lora.create(base, jax.random.key(1), rank=2)
  of_adapters = states.create(adapters, OPTIMIZER)
  _, metrics = update(of_adapters, batch, base=base, entropies="recomputed")
  _, whole = update(state, batch, entropies="recomputed")
  np.testing.assert_allclose(metrics["loss/total"], whole["loss/total"], atol=1e-6)
