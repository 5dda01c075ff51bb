"""Builds the parts of an update from the config of a run."""

from collections.abc import Callable
import functools
from typing import Any

import jax
from jax.sharding import Mesh
import ml_collections
import optax

from empg_jax.algorithms import Algorithm
from empg_jax.distributed import sharding
from empg_jax.models import casting, folder, lora
from empg_jax.models.value_head import ValueHead
from empg_jax.training import state as states
from empg_jax.training.state import TrainState
from empg_jax.training.step import train_step


def load(
  config: ml_collections.ConfigDict,
  mesh: Mesh,
  algorithm: Algorithm,
  optimizer: optax.GradientTransformation,
) -> tuple[TrainState, dict[str, Any]]:
  """The state before the first update, on the mesh, and the frozen arguments of train_step.

  These are `base`, of adapters, and `reference`, of a KL penalty; None where not needed. With
  a base no reference is needed: the base is the reference.
  """
  model = folder.load(mesh=mesh, **config.model)
  value_head = ValueHead(model.config.hidden_size) if algorithm.value_loss else None
  frozen = dict(base=None, reference=None)
  if config.lora.rank:
    frozen["base"] = model
    model = lora.create(model, jax.random.key(config.seed), **config.lora)
  elif algorithm.uses_reference:
    # The state's arrays are donated, so the reference needs a copy, in the dtype of its use.
    frozen["reference"] = states.copy(casting.cast(model, config.train.compute_dtype))
  return sharding.place(states.create(model, optimizer, value_head), mesh), frozen


def make_optimizer(config: ml_collections.ConfigDict) -> optax.GradientTransformation:
  """The config's optimizer, with the total number of its steps in the run."""
  total = config.num_steps * config.train.minibatches * config.train.epochs
  return states.make_optimizer(total_steps=total, **config.optimizer)


def make_update(
  config: ml_collections.ConfigDict,
  frozen: dict[str, Any],
  algorithm: Algorithm,
  optimizer: optax.GradientTransformation,
) -> Callable:
  """train_step with all arguments but the state and the batch."""
  temperature = config.policy.temperature
  given = dict(algorithm=algorithm, optimizer=optimizer, temperature=temperature)
  return functools.partial(train_step, **frozen, **given, **config.train)
