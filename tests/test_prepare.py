"""What a run begins with: no model is held twice that need not be."""

import pathlib
import runpy

import jax
import pytest
from absl import flags
from ml_collections import config_flags

from empg_jax import algorithms, config as configs, sharding

ROOT = pathlib.Path(__file__).resolve().parents[1]
PENALISED = algorithms.make("empg", base={"name": "grpo", "kl_coef": 0.01})


@pytest.fixture
def prepare(monkeypatch):
  """That of launch/train.py, whose flags are not to be defined here."""
  monkeypatch.setattr(flags, "DEFINE_string", lambda *_: None)
  monkeypatch.setattr(config_flags, "DEFINE_config_file", lambda *_: None)
  of_launcher = runpy.run_path(str(ROOT / "launch" / "train.py"))["prepare"]

  def prepare(algorithm, rank=0):
    config = configs.load(str(ROOT / "configs" / "alfworld.py"))
    config.lora.rank = rank
    return of_launcher(config, sharding.make_mesh(), algorithm)

  return prepare


def test_adapters_have_their_base_itself_as_the_reference(prepare):
  trained, frozen = prepare(PENALISED, rank=2)
  assert frozen["reference"] is frozen["base"]
  shapes = {x.shape for x in jax.tree.leaves(trained["model"])}
  assert all(2 in shape[1:] for shape in shapes)  # thin: nothing of the base is trained
  assert prepare(algorithms.make("grpo"), rank=2)[1]["reference"] is None


def test_a_whole_model_has_a_reference_of_its_own_if_there_is_a_penalty(prepare):
  trained, frozen = prepare(PENALISED)
  mine, theirs = (jax.tree.leaves(x) for x in (trained["model"], frozen["reference"]))
  assert frozen["base"] is None and len(mine) == len(theirs)
  places = {x.unsafe_buffer_pointer() for x in mine}
  assert not places & {x.unsafe_buffer_pointer() for x in theirs}
  assert prepare(algorithms.make("grpo"))[1] == dict(base=None, reference=None)


def test_there_is_a_value_head_where_values_are_estimated(prepare):
  trained, _ = prepare(algorithms.make("ppo"))
  assert trained["value_head"].weight.shape == (trained["model"].config.hidden_size,)
  assert prepare(PENALISED)[0]["value_head"] is None
