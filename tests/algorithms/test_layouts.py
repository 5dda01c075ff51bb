"""A sequence is an episode or a step, not a row: both row layouts learn the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from empg_jax import algorithms
from empg_jax.types import TokenStats

SEQUENCES = dict(aggregation="sequence_mean")
MADE = {
  "grpo": algorithms.make("grpo", **SEQUENCES, kl_coef=0.1, entropy_coef=0.1),
  "empg": algorithms.make("empg", base={"name": "grpo", **SEQUENCES}),
  "ppo": algorithms.make("ppo", **SEQUENCES),
  "sequence_sum": algorithms.make("grpo", aggregation="sequence_sum"),
  "dr_grpo": algorithms.make("dr_grpo", length=7.0),
  "gspo": algorithms.make("gspo"),
}


@jax.jit
def every(batch):
  """{name: (loss, its gradients by log-probability, entropy and value)}."""

  def one(algorithm):
    signal, _ = algorithm.advantages(batch, batch.behavior_entropy)

    def loss(logprobs, entropy, values):
      stats = TokenStats(logprobs, entropy)
      total, _ = algorithm.loss(stats, signal, batch, batch.behavior_logprobs - 0.1)
      return total + (algorithm.value_loss(values, signal, batch)[0] if algorithm.value_loss else 0)

    moved = batch.behavior_logprobs + 0.1 * jnp.sin(50 * batch.behavior_entropy)
    return jax.value_and_grad(loss, argnums=(0, 1, 2))(
      moved, batch.behavior_entropy, batch.values + 0.3
    )

  return {name: one(algorithm) for name, algorithm in MADE.items()}


@pytest.fixture(scope="module")
def layouts():
  packed = reference.drawn()
  turns = reference.one_row_a_turn(packed)
  return (packed, every(packed)), (turns, every(turns))


@pytest.mark.parametrize("name", MADE)
def test_loss_and_gradient_are_those_of_the_other_layout(name, layouts):
  losses, gradients = [], []
  for batch, outputs in layouts:
    loss, of_tokens = outputs[name]
    places = [place for steps in reference.steps_of(batch).values() for place in steps]
    losses.append(loss)
    gradients.append([[x[place] for place in places] for x in map(np.asarray, of_tokens)])
  np.testing.assert_allclose(*losses, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-7)
  assert np.abs(gradients[0]).max() > 1e-3
