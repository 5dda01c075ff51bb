"""Properties of EMPG's advantages that hold for every batch (arXiv 2509.09265)."""

import cases
import hypothesis
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from empg_jax import modulate_advantages
from empg_jax.core.modulation import modulate

KINDS = [kind for kind in cases.KINDS if kind not in ("no step", "bfloat16")]


def drawn(kind, seed=0):
  """(returns, entropy, step_mask, episode_ids) of a random batch."""
  case, rng = cases.case(kind, seed), np.random.default_rng(seed)
  entropy = rng.random(case.actions.shape).astype(np.float32)
  return case.returns, entropy, case.step_mask, case.episode_ids


def step_values(tokens, step_mask, episode_ids):
  """The value each step's tokens share, for (episode, step number) in order."""
  steps = oracle.steps_of(step_mask, episode_ids)
  values = [{float(tokens[at]) for at in steps[step]} for step in sorted(steps)]
  assert all(len(value) == 1 for value in values)
  return np.array([value.pop() for value in values])


@pytest.mark.parametrize("kind", KINDS)
def test_mean_g_is_one_and_its_range_is_exp_k(kind):
  returns, entropy, step_mask, episode_ids = drawn(kind)
  for k in (0.0, 1.0, 2.5):
    *_, metrics = modulate(
      returns, entropy, step_mask, k=k, k_future=1.0, zeta=0.1, episode_ids=episode_ids
    )
    np.testing.assert_allclose(metrics["empg/g_mean"], 1, rtol=1e-6)
    ratio = metrics["empg/g_max"] / metrics["empg/g_min"]
    several = metrics["empg/entropy_max"] > metrics["empg/entropy_min"]
    np.testing.assert_allclose(ratio, np.exp(k) if several else 1, rtol=1e-5)


@pytest.mark.parametrize("kind", ["bool mask", "one row a turn"])
def test_the_parts_of_an_advantage_are_those_of_the_equations(kind):
  returns, entropy, step_mask, episode_ids = drawn(kind)
  strengths = dict(k=1.5, k_future=0.5, zeta=0.2)
  _, parts, _ = modulate(returns, entropy, step_mask, episode_ids=episode_ids, **strengths)
  h, normal, g, bonus, base, final = (
    step_values(np.asarray(x), step_mask, episode_ids) for x in parts
  )
  steps = oracle.steps_of(step_mask, episode_ids)
  want_final, want_g, _ = oracle.modulate(returns, entropy, step_mask, 1.5, 0.5, 0.2, episode_ids)
  close = dict(rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(h, [np.mean([entropy[at] for at in steps[s]]) for s in sorted(steps)],
                             **close)  # fmt: skip
  np.testing.assert_allclose(normal, (h - h.min()) / (h.max() - h.min()), **close)
  np.testing.assert_allclose(g, [want_g[s] for s in sorted(steps)], **close)
  follow = {s: 0.2 * np.exp(-0.5 * n) for s, n in zip(sorted(steps), normal)}
  want = [follow.get((episode, s + 1), 0) for episode, s in sorted(steps)]
  np.testing.assert_allclose(bonus, want, **close)
  np.testing.assert_allclose(base * g + bonus - np.mean(base * g + bonus), final, **close)
  np.testing.assert_allclose(final, step_values(want_final, step_mask, episode_ids), **close)


@pytest.mark.parametrize("kind", KINDS)
def test_mean_final_advantage_over_steps_is_zero(kind):
  returns, entropy, step_mask, episode_ids = drawn(kind)
  if kind == "turns of many rows":  # a step's rows share their episode's return
    returns = np.float32(episode_ids) / 3
  final = modulate_advantages(returns, entropy, step_mask, episode_ids=episode_ids)
  values = step_values(np.asarray(final), step_mask, episode_ids)
  np.testing.assert_allclose(values.mean(), 0, atol=1e-6)
  np.testing.assert_array_equal(final[step_mask == 0], 0)


def test_without_scaling_and_bonus_only_the_centring_is_left():
  returns, entropy, steps, _ = drawn("packed")
  final = modulate_advantages(returns, entropy, steps, k=0.0, zeta=0.0)
  base = np.repeat(returns[:, None], cases.T, axis=1)
  want = base - step_values(base, steps, None).mean()
  np.testing.assert_allclose(final, np.where(steps > 0, want, 0), atol=1e-6)


def test_confident_steps_count_more_and_uncertain_ones_less():
  steps = np.array([[1, 1, 0, 2, 2, 0, 3]])
  entropy = np.array([[0.1, 0.3, 9, 1, 1, 9, 2]], np.float32)  # 0.2, 1, 2
  up = modulate_advantages(np.ones(1), entropy, steps, zeta=0.0)
  down = modulate_advantages(-np.ones(1), entropy, steps, zeta=0.0)
  assert up[0, 0] > up[0, 3] > up[0, 6]
  np.testing.assert_allclose(down, -up, atol=1e-6)


def test_the_bonus_depends_on_the_entropy_of_the_next_step():
  steps = np.array([[1, 2, 3, 0], [1, 0, 0, 0]])
  entropy = np.array([[0.0, 1.0, 0.5, 7], [0.2, 7, 7, 7]], np.float32)
  final = modulate_advantages(np.zeros(2), entropy, steps, k=0.0, k_future=2.0, zeta=0.1)
  bonus = np.array([0.1 * np.exp(-2.0), 0.1 * np.exp(-1.0), 0, 0])  # the last: none
  np.testing.assert_allclose(np.r_[final[0, :3], final[1, 0]], bonus - bonus.mean(), atol=1e-6)


def test_a_step_whose_next_number_is_missing_has_no_bonus():
  entropy = np.array([[0.0, 1.0, 0.5, 0.25]], np.float32)
  values = modulate_advantages(np.zeros(1), entropy, np.array([[1, 2, 5, 6]]), k=0.0, zeta=0.1)[0]
  # Step 2 has no step 3: it is treated like the last step.
  np.testing.assert_allclose(values[1], values[3], atol=1e-7)
  assert values[0] > values[1] and values[2] > values[1]


@pytest.mark.parametrize("value", [0.1, 1.7, float(np.log(50))])
def test_equal_entropies_leave_g_exactly_one(value):
  _, _, steps, _ = drawn("packed")
  entropy = np.full(steps.shape, value, np.float32)
  *_, metrics = modulate(np.ones(cases.B), entropy, steps, k=1.0, k_future=1.0, zeta=0.1)
  assert metrics["empg/g_min"] == metrics["empg/g_max"] == 1
  np.testing.assert_allclose(metrics["empg/entropy_mean"], value, rtol=1e-6)


def test_a_single_step_is_neither_scaled_nor_rewarded():
  returns, entropy, steps, _ = drawn("one step")
  final, _, metrics = modulate(returns, entropy, steps, k=1.0, k_future=1.0, zeta=0.1)
  np.testing.assert_array_equal(final, 0)  # its own mean is subtracted
  assert metrics["empg/g_max"] == 1 and metrics["empg/bonus_mean"] == 0


@pytest.mark.parametrize("rank", [1, 2])
def test_a_batch_without_steps_is_returned_unchanged(rank):
  entropy = np.full((3, 5), np.nan, np.float32)
  advantages = np.random.default_rng(0).normal(size=(3, 5)[:rank]).astype(np.float32)
  for mask in (np.zeros((3, 5), bool), np.zeros((3, 5), int)):
    final, _, metrics = modulate(advantages, entropy, mask, k=1.0, k_future=1.0, zeta=0.1)
    want = np.broadcast_to(advantages.reshape(3, -1), (3, 5))
    np.testing.assert_array_equal(final, want)
    assert all(np.isfinite(value) for value in metrics.values())


@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_filler_rows_change_nothing(kind):
  returns, entropy, step_mask, episode_ids = drawn(kind)
  b, t = entropy.shape
  want = modulate_advantages(returns, entropy, step_mask, episode_ids=episode_ids)
  wider = ((0, 2), (0, 5))
  entropy = np.pad(entropy, wider, constant_values=np.nan)
  step_mask = np.pad(step_mask, wider)
  if episode_ids is not None:
    episode_ids = np.pad(episode_ids, (0, 2), mode="edge")
  got = modulate_advantages(
    np.pad(returns, (0, 2), constant_values=9), entropy, step_mask,
    episode_ids=episode_ids,
  )  # fmt: skip
  np.testing.assert_allclose(got[:b, :t], want, atol=1e-6)
  np.testing.assert_array_equal(got[b:], 0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_rows_changes_nothing(kind):
  returns, entropy, step_mask, episode_ids = drawn(kind)
  order = np.random.default_rng(1).permutation(cases.B)
  want = modulate_advantages(returns, entropy, step_mask, episode_ids=episode_ids)
  got = modulate_advantages(
    returns[order], entropy[order], step_mask[order],
    episode_ids=None if episode_ids is None else episode_ids[order],
  )  # fmt: skip
  np.testing.assert_allclose(got, want[order], atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_both_layouts_give_the_same_numbers(seed):
  """One row per trajectory, and one row per turn."""
  returns, entropy, steps, _ = drawn("packed", seed)
  packed = modulate_advantages(returns, entropy, steps)
  places = oracle.steps_of(steps, None)
  turns = np.zeros((64, cases.T), np.int32)
  turn_entropy = np.zeros(turns.shape, np.float32)
  episodes = np.zeros(64, np.int32)
  episodes[: len(places)] = [episode for episode, _ in places]
  for row, (step, at) in enumerate(places.items()):
    turns[row, : len(at)] = step[1]
    turn_entropy[row, : len(at)] = [entropy[place] for place in at]
  split = modulate_advantages(returns[episodes], turn_entropy, turns, episode_ids=episodes)
  np.testing.assert_allclose(
    step_values(np.asarray(split), turns, episodes),
    step_values(np.asarray(packed), steps, None),
    atol=1e-6,
  )


def test_a_bool_mask_is_the_same_as_numbering_its_runs():
  returns, entropy, mask, _ = drawn("bool mask")
  np.testing.assert_array_equal(
    modulate_advantages(returns, entropy, mask),
    modulate_advantages(returns, entropy, oracle.run_numbers(mask)),
  )


def test_no_gradient_flows_through_the_modulation():
  returns, entropy, steps, _ = drawn("packed")

  def total(returns, entropy, k):
    return jnp.sum(jnp.sin(modulate_advantages(returns, entropy, steps, k=k)))

  for gradient in jax.grad(total, argnums=(0, 1, 2))(returns, entropy, 1.0):
    np.testing.assert_array_equal(gradient, 0)


@hypothesis.settings(max_examples=200)
@hypothesis.given(
  steps=arrays.arrays(np.int32, (4, 6), elements=st.integers(-1, 6)),
  episode_ids=arrays.arrays(np.int32, 4, elements=st.sampled_from([-5, 0, 7])),
  entropy=arrays.arrays(np.float32, (4, 6), elements=st.floats(0, 10, width=16)),
  advantages=arrays.arrays(np.float32, (4, 6), elements=st.floats(-3, 3, width=16)),
  share=st.booleans(),
)
def test_any_numbering_equals_the_loop(steps, episode_ids, entropy, advantages, share):
  """Steps in pieces, out of order, over several rows, with gaps."""
  episode_ids = episode_ids if share else None
  got = modulate_advantages(
    advantages, entropy, steps, k=1.0, k_future=0.5, zeta=0.1, episode_ids=episode_ids
  )
  want, _, _ = oracle.modulate(advantages, entropy, steps, 1.0, 0.5, 0.1, episode_ids)
  np.testing.assert_allclose(got, want, atol=1e-5)
