"""A new run begins with the weights of another run and does not need it afterwards."""

import json
import shutil

import jax
import numpy as np
import pytest

from empg_jax.checkpoint import Checkpointer, trained
from empg_jax.config import config as configs
from empg_jax.distributed import sharding
from empg_jax.models import folder, lora
from empg_jax.training import state as states
from empg_jax.workdir import init_from, resume

OPTIMIZER = states.make_optimizer(learning_rate=1e-3)


def make_run(workdir, rank=0):
  """A run of the shipped policy, or adapters beside it, with a checkpoint of steps 1 and 2."""
  config = configs.load("configs/alfworld.py")
  config.lora.rank = rank
  resume.claim(workdir, config)
  model = folder.load("alfworld-tiny", sharding.make_mesh())
  if rank:
    model = lora.create(model, jax.random.key(0), **config.lora)
  checkpointer = Checkpointer(workdir / "checkpoints")
  for step in (1, 2):
    checkpointer.save(step, states.create(jax.tree.map(lambda x: x + step, model), OPTIMIZER))
  checkpointer.close()
  return config


def begin(workdir, named, config=None):
  """Starts as launch/train.py does; returns the config with the model's new path."""
  config = config or configs.load("configs/alfworld.py")
  workdir.mkdir(exist_ok=True)
  init_from.make(workdir, init_from.find(workdir, named, config), config)
  resume.claim(workdir, config)
  return config


def compute(workdir):
  """Marks the run as begun: it has computed something."""
  (workdir / "metrics.jsonl").write_text('{"step": 0}\n')


@pytest.mark.parametrize("rank", [0, 4])
def test_a_run_begins_with_the_weights_of_another_and_adapters_are_merged(tmp_path, rank):
  old = make_run(tmp_path / "old", rank)
  config = begin(tmp_path / "new", f"{tmp_path}/old@1")
  assert config.model.path == str(tmp_path / "new" / "initial")
  want = trained.load(old, tmp_path / "old" / "checkpoints" / "1")
  shutil.rmtree(tmp_path / "old")
  found = folder.load(config.model.path, sharding.make_mesh())
  jax.tree.map(np.testing.assert_array_equal, want, found)
  assert folder.chat(config.model.path, **config.chat).end_id >= 0
  # Readers of the run find them, also after the workdir was renamed.
  (tmp_path / "new").rename(tmp_path / "renamed")
  assert configs.read(tmp_path / "renamed").model.path == str(tmp_path / "renamed" / "initial")
  assert init_from.named(tmp_path / "renamed") == f"{tmp_path}/old@1"


def test_the_newest_checkpoint_is_taken_and_a_resume_needs_no_flag(tmp_path):
  make_run(tmp_path / "old")
  begin(tmp_path / "new", f"{tmp_path}/old")
  assert init_from.named(tmp_path / "new") == f"{tmp_path}/old@2"
  compute(tmp_path / "new")
  shutil.rmtree(tmp_path / "old")
  for named in (None, f"{tmp_path}/old", f"{tmp_path}/old@2"):
    assert begin(tmp_path / "new", named).model.path == str(tmp_path / "new" / "initial")
  for named in ("other", f"{tmp_path}/old@1"):
    with pytest.raises(ValueError, match="began with --init_from=.*old@2, not with --init_from="):
      begin(tmp_path / "new", named)


def test_a_run_that_began_with_other_weights_is_unchanged(tmp_path):
  make_run(tmp_path / "old")
  begin(tmp_path / "new", None)
  compute(tmp_path / "new")
  with pytest.raises(ValueError, match="began without --init_from, not with --init_from="):
    begin(tmp_path / "new", f"{tmp_path}/old")
  assert not (tmp_path / "new" / "initial").exists()


def test_the_leftovers_of_a_failed_start_are_ignored(tmp_path):
  make_run(tmp_path / "old")
  begin(tmp_path / "new", f"{tmp_path}/old@1")
  begin(tmp_path / "new", f"{tmp_path}/old@2")
  assert init_from.named(tmp_path / "new") == f"{tmp_path}/old@2"
  assert begin(tmp_path / "new", None).model.path == "alfworld-tiny"
  assert configs.read(tmp_path / "new").model.path == "alfworld-tiny"


def test_a_model_of_another_shape_is_refused_before_anything_is_written(tmp_path):
  make_run(tmp_path / "old")
  with pytest.raises(ValueError) as error:
    begin(tmp_path / "new", f"{tmp_path}/old", configs.load("configs/webshop.py"))
  assert "vocab_size is 832 there and 2048 here" in str(error.value)
  assert "Give that run's own --config.model.path=alfworld-tiny." in str(error.value)
  assert not list((tmp_path / "new").iterdir())
  fitting = configs.load("configs/webshop.py")  # as the message says
  fitting.model.path = "alfworld-tiny"
  begin(tmp_path / "new", f"{tmp_path}/old", fitting)
  nothing = configs.load("configs/alfworld.py:qwen2.5-7b")  # names no model
  begin(tmp_path / "new", f"{tmp_path}/old", nothing)
  assert json.loads((tmp_path / "new" / "config.json").read_text())["mesh"]["fsdp"] == 16


@pytest.mark.parametrize(("named", "sentence"), [
  ("{0}/nowhere", "There is no checkpoint in .*nowhere"),
  ("{0}/old@7", "There is no checkpoint of step 7 in .*old: there are 1, 2"),
  ("{0}/old@best", "No checkpoint in .*old was evaluated"),
])  # fmt: skip
def test_a_missing_checkpoint_is_refused(tmp_path, named, sentence):
  make_run(tmp_path / "old")
  with pytest.raises(FileNotFoundError, match=sentence):
    begin(tmp_path / "new", named.format(tmp_path))


def test_a_name_with_an_at_is_a_name(tmp_path):
  make_run(tmp_path / "old@3")
  begin(tmp_path / "new", f"{tmp_path}/old@3")
  assert init_from.named(tmp_path / "new") == f"{tmp_path}/old@3@2"
