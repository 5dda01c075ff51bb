"""Empty batches, extreme step numbers, and strict dtype promotion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import empg_jax
from empg_jax import empg_loss, fused_token_stats, group_advantages, modulate_advantages
from empg_jax.core import weighting

LAST = np.iinfo(np.int32).max


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0, 0)])
def test_an_empty_batch_has_zero_loss_and_gradients(shape):
  nothing, steps = np.zeros(shape, np.float32), np.zeros(shape, np.int32)
  rows = np.zeros(shape[:1], np.int32)
  logits = np.zeros((*shape, 5), np.float32)

  def loss(logits, ids):
    return empg_loss(
      logits, steps, np.float32(rows), steps, episode_ids=ids, behavior_logprobs=nothing,
      reference_logprobs=nothing, kl_coef=0.1, entropy_coef=0.1, aggregation="sequence_mean",
    )  # fmt: skip

  for ids in (None, rows):
    (got, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(logits, ids)
    assert got == 0 and gradient.shape == logits.shape
    assert all(np.isfinite(value) for value in metrics.values())


@pytest.mark.parametrize("block_size", [None, 2])
def test_statistics_of_an_empty_batch_have_zero_gradients(block_size):
  def total(unembedding, temperature):
    hidden, actions = jnp.zeros((0, 3, 4)), jnp.zeros((0, 3), jnp.int32)
    stats = fused_token_stats(
      hidden, unembedding, actions, temperature=temperature, block_size=block_size
    )
    return jnp.sum(stats.logprobs + stats.entropy)

  for gradient in jax.grad(total, argnums=(0, 1))(jnp.ones((4, 5)), 0.7):
    np.testing.assert_array_equal(gradient, 0)
  assert group_advantages(jnp.zeros(0), jnp.zeros(0, jnp.int32)).shape == (0,)


def test_the_last_step_number_is_a_step_like_any_other():
  entropy = np.array([[0.1, 0.9, 0.3, 0.5]], np.float32)
  ends = np.array([[LAST - 1, LAST - 1, 0, LAST]], np.int32)
  small = np.array([[1, 1, 0, 2]], np.int32)
  for ids in (None, np.array([3])):
    got = modulate_advantages(np.ones(1, np.float32), entropy, ends, episode_ids=ids)
    want = modulate_advantages(np.ones(1, np.float32), entropy, small, episode_ids=ids)
    np.testing.assert_array_equal(got, want)
    assert got[0, 3] != 0


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32])
def test_step_numbers_of_any_integer_type(dtype):
  steps = np.array([[1, 1, 0, 2], [0, 3, 4, 0]])
  entropy = np.random.default_rng(0).random((2, 4)).astype(np.float32)
  want = modulate_advantages(np.ones(2, np.float32), entropy, steps.astype(np.int32))
  got = modulate_advantages(np.ones(2, np.float32), entropy, steps.astype(dtype))
  np.testing.assert_array_equal(got, want)


def test_numbers_below_1_are_not_steps():
  """As documented: values cannot be checked under jit."""
  below = np.array([[1, -1, -(LAST), 2]], np.int32)
  zero = np.maximum(below, 0)
  of = lambda steps: empg_loss(
    np.ones((1, 4, 3), np.float32) * np.arange(3, dtype=np.float32), np.zeros((1, 4), int),
    np.ones(1, np.float32), steps,
  )[0]  # fmt: skip
  assert of(below) == of(zero)
  np.testing.assert_array_equal(
    weighting.token_weights(jnp.asarray(below)), weighting.token_weights(jnp.asarray(zero))
  )


@pytest.mark.parametrize("mask", [np.ones((2, 3), bool), np.ones((2, 3), np.int32)])
def test_no_dtype_is_promoted_implicitly(mask):
  values = np.full((2, 3), -1.0, np.float32)
  with jax.numpy_dtype_promotion("strict"):
    for aggregation in ("sequence_mean", "step_mean"):
      loss, _ = empg_loss(
        jnp.zeros((2, 3, 5), jnp.bfloat16), np.zeros((2, 3), np.int32),
        np.ones(2, np.float32), mask, behavior_logprobs=values, reference_logprobs=values,
        kl_coef=0.1, aggregation=aggregation,
      )  # fmt: skip
      assert np.isfinite(loss)
    stats = fused_token_stats(
      jnp.zeros((2, 3, 4), jnp.bfloat16), jnp.zeros((4, 5)), np.zeros((2, 3), np.int32),
      compute_dtype=jnp.bfloat16,
    )  # fmt: skip
    assert np.isfinite(stats.logprobs).all()
    ids = np.zeros(2, np.int32)
    group_advantages(np.ones(2, np.float32), ids, episode_ids=ids, ddof=1)


def test_the_package_exports_five_functions():
  five = [
    "empg_loss",
    "fused_token_stats",
    "group_advantages",
    "modulate_advantages",
    "token_stats",
  ]
  imported = {}
  exec("from empg_jax import *", imported)
  assert sorted(imported.keys() - {"__builtins__"}) == sorted(empg_jax.__all__) == five
  assert [name for name in dir(empg_jax) if not name.startswith("__")] == five
