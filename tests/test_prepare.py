"""The state at the start of a run holds no model twice without need."""

import pathlib

import jax
import optax

from empg_jax import algorithms
from empg_jax.config import config as configs
from empg_jax.distributed import sharding
from empg_jax.training import setup

ROOT = pathlib.Path(__file__).resolve().parents[1]
PENALISED = algorithms.make("empg", base={"name": "grpo", "kl_coef": 0.01})


def load(algorithm, rank=0):
  config = configs.load(str(ROOT / "configs" / "alfworld.py"))
  config.lora.rank = rank
  return setup.load(config, sharding.make_mesh(), algorithm, optax.sgd(1.0))


def test_adapters_need_no_reference_besides_their_base():
  state, frozen = load(PENALISED, rank=2)
  assert frozen["base"] is not None and frozen["reference"] is None
  shapes = {x.shape for x in jax.tree.leaves(state.model)}
  assert all(2 in shape[1:] for shape in shapes)  # thin matrices: the base is not trained


def test_a_whole_model_has_a_reference_of_its_own_if_there_is_a_penalty():
  state, frozen = load(PENALISED)
  mine, theirs = (jax.tree.leaves(x) for x in (state.model, frozen["reference"]))
  assert frozen["base"] is None and len(mine) == len(theirs)
  places = {x.unsafe_buffer_pointer() for x in mine}
  assert not places & {x.unsafe_buffer_pointer() for x in theirs}
  assert load(algorithms.make("grpo"))[1] == dict(base=None, reference=None)


def test_there_is_a_value_head_where_values_are_estimated():
  state, _ = load(algorithms.make("ppo"))
  assert state.value_head.weight.shape == (state.model.config.hidden_size,)
  assert load(PENALISED)[0].value_head is None
