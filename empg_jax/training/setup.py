"""What an update is made of, as the config of a run has it."""

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
  """The state before the first update, on the mesh, and what train_step takes beside it.

  The latter are `base`, of adapters, and `reference`, of a KL penalty; None where not needed, as
  the reference beside a base, which is one.
  """
  model = folder.load(mesh=mesh, **config.model)
  value_head = ValueHead(model.config.hidden_size) if algorithm.value_loss else None
  frozen = dict(base=None, reference=None)
  if config.lora.rank:
    frozen["base"] = model
    model = lora.create(model, jax.random.key(config.seed), **config.lora)
  elif algorithm.uses_reference:
    # A state gives its arrays away, so the reference has its own, in the type it is used in.
    frozen["reference"] = states.copy(casting.cast(model, config.train.compute_dtype))
  return sharding.place(states.create(model, optimizer, value_head), mesh), frozen


def make_optimizer(config: ml_collections.ConfigDict) -> optax.GradientTransformation:
  """The config's optimizer, for as many steps as it has in the run."""
  total = config.num_steps * config.train.minibatches * config.train.epochs
  return states.make_optimizer(total_steps=total, **config.optimizer)


def make_update(
  config: ml_collections.ConfigDict,
  frozen: dict[str, Any],
  algorithm: Algorithm,
  optimizer: optax.GradientTransformation,
) -> Callable:
  """train_step with all but the state and the batch."""
  temperature = config.policy.temperature
  given = dict(algorithm=algorithm, optimizer=optimizer, temperature=temperature)
  return functools.partial(train_step, **frozen, **given, **config.train)
