"""The optimizer of a run: the decay of its learning rate, and the structure of its state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from empg_jax.config import config as configs
from empg_jax.models.lora import Adapters
from empg_jax.training import setup, state as states

PARAMETERS = Adapters({"q_proj": jnp.ones((1, 2, 3))}, {"q_proj": jnp.ones((1, 3, 2))}, 1.0)


def rates(steps, **arguments):
  """The learning rates of the first updates: Adam's step has the size of the rate."""
  optimizer = states.make_optimizer(b1=0.0, b2=0.0, weight_decay=0.0, **arguments)
  moments, found = optimizer.init(PARAMETERS), []
  for _ in range(steps):
    updates, moments = optimizer.update(PARAMETERS, moments, PARAMETERS)
    found.append(-float(updates.a["q_proj"][0, 0, 0]))
  return found


@pytest.mark.parametrize("total", [6, 9])
def test_a_decay_of_minus_1_ends_with_the_run(total):
  wanted = dict(learning_rate=0.5, warmup_steps=2)
  of_run = rates(12, total_steps=total, decay_steps=-1, **wanted)
  np.testing.assert_allclose(of_run, rates(12, decay_steps=total, **wanted))
  np.testing.assert_allclose(of_run[total:], 0.05, rtol=1e-5)


def test_there_is_no_decay_for_0_and_for_a_run_that_ends_within_its_warm_up():
  np.testing.assert_allclose(rates(3, learning_rate=0.5, decay_steps=0, total_steps=3), 0.5)
  for total in (1, 4):
    short = rates(6, learning_rate=0.5, warmup_steps=4, total_steps=total)
    np.testing.assert_allclose(short, [0, 0.125, 0.25, 0.375, 0.5, 0.5], atol=1e-6)


def test_the_decay_of_a_run_counts_the_steps_of_its_optimizer():
  config = configs.load("configs/alfworld.py")
  config.num_steps, config.train.minibatches, config.train.epochs = 3, 2, 2
  made = setup.make_optimizer(config)
  moments = made.init(PARAMETERS)
  for _ in range(13):
    updates, moments = made.update(PARAMETERS, moments, PARAMETERS)
  # After 3 x 2 x 2 steps the rate is a tenth; constant gradients make Adam's step the rate.
  assert -float(updates.a["q_proj"][0, 0, 0]) == pytest.approx(
    config.optimizer.learning_rate / 10, rel=0.01
  )


@pytest.mark.parametrize(
  "changes",
  [
    dict(warmup_steps=2), dict(decay_steps=5), dict(total_steps=7), dict(weight_decay=0.1),
    dict(clip_norm=3.0), dict(b1=0.5, b2=0.9), dict(learning_rate=1e-5),
  ],
  ids=str,
)  # fmt: skip
def test_the_state_of_any_optimizer_fits_any_other(changes):
  plain = dict(learning_rate=1e-3, weight_decay=0.0)
  shapes = [
    jax.eval_shape(states.make_optimizer(**arguments).init, PARAMETERS)
    for arguments in (plain, plain | changes)
  ]
  assert jax.tree.structure(shapes[0]) == jax.tree.structure(shapes[1])
