"""The update is one program, and its result does not depend on the batch's layout."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from updates import EMPG, OPTIMIZER, ROWS, assert_same, update

from empg_jax import algorithms
from empg_jax.core.advantages import group_advantages
from empg_jax.core.modulation import modulate_advantages
from empg_jax.distributed import sharding
from empg_jax.training import microbatch
from empg_jax.training.guard import check_finite
from empg_jax.training.score import token_stats
from empg_jax.training.step import train_step


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
  longer = jax.tree.map(lambda x: jnp.pad(x, ((0, 0), (0, 9))) if x.ndim == 2 else x, batch)
  order = np.random.default_rng(1).permutation(ROWS)
  shuffled = jax.tree.map(lambda x: x[order], batch)
  want = update(state, batch)
  assert_same(want, update(state, longer))
  assert_same(want, update(state, shuffled))


def test_advantages_are_those_of_one_device(batch):
  mesh = sharding.make_mesh(data=2, fsdp=4)
  want, _ = EMPG.advantages(batch, batch.behavior_entropy)
  rows = sharding.to_mesh(batch, mesh)
  with jax.set_mesh(mesh):
    got, _ = jax.jit(EMPG.advantages)(rows, rows.behavior_entropy)
  np.testing.assert_allclose(got.advantages, want.advantages, atol=1e-5)


def test_the_signal_is_grpo_modulated_by_step_entropy(batch):
  signal, metrics = EMPG.advantages(batch, batch.behavior_entropy)
  a = group_advantages(batch.returns, batch.group_ids, exists=(batch.steps > 0).any(1))
  want = modulate_advantages(a, batch.behavior_entropy, batch.steps, zeta=0.1)
  np.testing.assert_allclose(signal.advantages, want, atol=1e-6)
  np.testing.assert_allclose(signal.weights.sum(), 1.0, rtol=1e-6)
  np.testing.assert_allclose(metrics["empg/g_mean"], 1.0, rtol=1e-5)


def test_on_policy_nothing_is_clipped_and_the_ratio_is_one(state, batch):
  _, metrics = update(state, batch)
  assert metrics["loss/clip_fraction"] == 0
  np.testing.assert_allclose(metrics["loss/behavior_kl"], 0, atol=1e-9)


def test_tokens_that_were_not_sampled_are_ignored(state, batch):
  other = dataclasses.replace(batch, actions=jnp.where(batch.steps > 0, batch.actions, 1))
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


def test_the_mismatch_of_the_sampler_is_corrected(state, batch):
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
    for name in ("loss/ratio", "loss/entropy"):  # other terms do not change
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
  _, same = train_step(jax.tree.map(jnp.copy, state), batch, state.model, **arguments)
  np.testing.assert_allclose(same["loss/kl"], 0, atol=1e-9)


def test_rows_that_do_not_divide_are_refused():
  with pytest.raises(ValueError, match="does not divide into 1 minibatch of microbatches of 3"):
    microbatch.check(8, 3)


def test_splitting_and_joining_gives_back_the_batch(batch):
  pieces = microbatch.split(batch, batch.steps > 0, 4)
  for piece, leaf in zip(pieces.leaves, jax.tree.leaves(batch)):
    np.testing.assert_array_equal(microbatch.join(piece), leaf)
