"""Advantages from values of steps, and the value loss, against plain loops."""

import functools

import hypothesis
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from empg_jax.core import values, weighting

ROWS, LENGTH = 4, 40


def drawn(rng):
  """For each row the tokens, rewards and values of its steps; a row may have none."""
  step = lambda: (int(rng.integers(1, 5)), float(rng.choice([0.0, -0.1, 1.0])), rng.normal())
  return [[step() for _ in range(rng.integers(0, 5))] for _ in range(ROWS)]


def laid_out(rng, episodes, order):
  """[B, T] of rewards, values and steps, after observations of random lengths."""
  rewards, value = np.zeros((2, ROWS, LENGTH), np.float32)
  value += rng.normal(size=value.shape)  # the head's other outputs are not used
  steps = np.zeros((ROWS, LENGTH), np.int32)
  for row, episode in enumerate(order):
    place = 0
    for number, (tokens, reward, v) in enumerate(episodes[episode], 1):
      place += int(rng.integers(0 if number > 1 else 1, 6))
      steps[row, place : place + tokens] = number
      rewards[row, place : place + tokens] = reward
      value[row, place] = v
      place += tokens
  return rewards, value, steps


def scanned(episodes, gamma, lam):
  """[(advantage, target)] of all steps, episode by episode, by the recursion itself."""
  result = []
  for steps in episodes:
    a, next_value, of_episode = 0.0, 0.0, []
    for _, reward, v in reversed(steps):
      a = reward + gamma * next_value - v + gamma * lam * a
      next_value = v
      of_episode.append((a, v + a))
    result += of_episode[::-1]
  return np.array(result).reshape(-1, 2)


def by_step(x, steps, order):
  """One number per step, episode by episode; all tokens of a step must agree."""
  result = []
  for row in np.argsort(order):
    for number in range(1, steps[row].max() + 1):
      (of_step,) = set(np.asarray(x)[row][steps[row] == number].tolist())
      result.append(of_step)
  return np.array(result)


@hypothesis.given(seed=st.integers(0, 2**32 - 1), gamma=st.floats(0.5, 1), lam=st.floats(0, 1))
@hypothesis.settings(max_examples=50)
def test_gae_equals_the_recursion_in_any_layout(seed, gamma, lam):
  rng = np.random.default_rng(seed)
  episodes, order = drawn(rng), rng.permutation(ROWS)
  rewards, value, steps = laid_out(rng, episodes, order)
  ids = np.asarray(order, np.int32)
  got = values.gae(rewards, value, steps, ids, gamma=float(gamma), lam=float(lam))
  want = scanned(episodes, gamma, lam)
  np.testing.assert_allclose(by_step(got.targets, steps, order), want[:, 1], atol=1e-5)
  v = by_step(got.values, steps, order)
  np.testing.assert_allclose(v, [v for episode in episodes for _, _, v in episode], rtol=1e-6)
  if len(want) > 1 and want[:, 0].std() > 1e-2:
    normal = (want[:, 0] - want[:, 0].mean()) / want[:, 0].std()
    np.testing.assert_allclose(by_step(got.advantages, steps, order), normal, atol=2e-3)
  for x in got:
    np.testing.assert_array_equal(np.asarray(x)[steps == 0], 0)


def test_with_values_of_0_advantages_are_discounted_returns():
  rewards = jnp.float32([[0, 0, 0.5, 0, 0, 1, 1, 0], [0, 0.25, 0.25, 0, -1, 0, 0, 0]])
  steps = jnp.int32([[0, 1, 2, 0, 0, 3, 3, 0], [0, 1, 1, 0, 2, 0, 0, 0]])
  got = values.gae(rewards, jnp.zeros((2, 8)), steps, jnp.arange(2), gamma=0.9, lam=1.0)
  first, second = [0.9 * 0.5 + 0.81, 0.5 + 0.9, 1.0], [0.25 - 0.9, -1.0]
  want = [[0, first[0], first[1], 0, 0, 1, 1, 0], [0, second[0], second[0], 0, -1, 0, 0, 0]]
  np.testing.assert_allclose(got.targets, want, atol=1e-6)
  returns = np.array(first + second)
  scaled = (np.array(want) - returns.mean()) / returns.std()
  np.testing.assert_allclose(got.advantages, np.where(steps > 0, scaled, 0), atol=1e-5)


def test_equal_advantages_become_exactly_0():
  steps = jnp.int32([[0, 1, 1, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0]])
  rewards = jnp.where(steps > 0, jnp.float32(0.1), 0)
  got = values.gae(rewards, jnp.zeros((2, 8)), steps, jnp.arange(2), gamma=1.0, lam=1.0)
  np.testing.assert_array_equal(got.advantages, 0)


def reference_loss(value, old, targets, weights, steps, clip):
  total = clipped = 0.0
  for row in range(ROWS):
    for number in range(1, steps[row].max() + 1):
      tokens = np.flatnonzero(steps[row] == number)
      w, first = weights[row, tokens].sum(), (row, tokens[0])
      v, v_old, target = value[first], old[first], targets[first]
      error = (v - target) ** 2
      held = (v_old + min(max(v - v_old, -clip), clip) - target) ** 2 if clip else error
      total += w * max(error, held) / 2
      clipped += w * (held > error)
  return total, clipped


@pytest.mark.parametrize("clip", [0.0, 0.3])
def test_the_value_loss_and_its_gradient_are_those_of_its_equation(clip):
  rng = np.random.default_rng(0)
  order = np.arange(ROWS)
  rewards, old, steps = laid_out(rng, drawn(rng), order)
  estimates = values.gae(rewards, old, steps, order.astype(np.int32), gamma=0.9, lam=0.9)
  targets = np.asarray(estimates.targets, np.float64)
  weights = np.asarray(weighting.token_weights(jnp.asarray(steps > 0)), np.float64)
  new = old + rng.normal(size=old.shape).astype(np.float32)
  loss = functools.partial(values.clipped_value_loss, clip=clip)
  (got, metrics), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(
    new, estimates.targets, np.float32(weights), steps, old_values=old
  )
  gradient = np.asarray(gradient)
  reference = lambda new: reference_loss(new, np.float64(old), targets, weights, steps, clip)
  want, clipped = reference(np.float64(new))
  assert bool(clip) == (0 < clipped < 1)
  np.testing.assert_allclose([got, metrics["loss/value"]], want, rtol=1e-5)
  np.testing.assert_allclose(metrics["loss/value_clip_fraction"], clipped, atol=1e-6)
  for place in np.ndindex(new.shape):
    change = np.zeros(new.shape)
    change[place] = 1e-5
    slope = (reference(new + change)[0] - reference(new - change)[0]) / 2e-5
    np.testing.assert_allclose(gradient[place], slope, atol=1e-5)


def test_values_at_other_tokens_are_ignored():
  steps = jnp.int32([[0, 1, 1, 0, 2], [0, 0, 0, 0, 0]])
  first = jnp.array([[0, 1, 0, 0, 1], [0] * 5], bool)  # the tokens whose values are read
  x = jnp.where(steps > 0, jnp.float32(0.3), 0)
  loss = lambda v, targets, old: values.clipped_value_loss(
    v, targets, x, steps, old_values=old, clip=0.2
  )[0]
  outputs = jax.jit(lambda v, targets: jax.value_and_grad(loss)(v, targets, v))
  spoilt = jnp.where(first, x, jnp.nan), jnp.where(steps > 0, x, jnp.nan)
  for a, b in zip(outputs(*spoilt), outputs(x, x)):
    np.testing.assert_allclose(a, b, atol=1e-7)


def test_explained_variance_is_1_for_correct_values_and_0_for_a_constant():
  steps, fit = jnp.int32([[1, 2, 0], [1, 1, 2]]), jax.jit(values.fit)
  targets = jnp.float32([[1, 0, 0], [0.5, 0.5, 0.25]])
  explained = lambda v: fit(values.Estimates(v, v, targets), steps)
  metrics = explained(targets)
  np.testing.assert_allclose(metrics["value/explained_variance"], 1, atol=1e-6)
  np.testing.assert_allclose(metrics["value/mean"], 2.25 / 5)
  of_constant = explained(jnp.full((2, 3), 0.4))["value/explained_variance"]
  np.testing.assert_allclose(of_constant, 0, atol=1e-6)
