"""launch/sft.py makes a folder that launch/train.py can start from."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from empg_jax import chat as chats, envs
from empg_jax.config import bounds, config as configs
from empg_jax.distributed import sharding
from empg_jax.loop import settings
from empg_jax.models import folder

ROOT = pathlib.Path(__file__).resolve().parents[1]
SMALL = {
  "sft.num_steps": 2,
  "sft.batches.lengths": "(1024,)",
  "sft.batches.tokens": 4096,
  "sft.optimizer.warmup_steps": 1,
}
FRESH = {"sft.fresh.vocabulary": 640, "sft.fresh.model.num_hidden_layers": 1}


def launch(script, config, data, *flags, **settings):
  """Runs a launch script; returns its output."""
  settings = {key.replace("__", "."): value for key, value in settings.items()}
  done = subprocess.run(
    [
      sys.executable, str(ROOT / "launch" / script), f"--config=configs/{config}", *flags,
      *(f"--config.{key}={value}" for key, value in settings.items()),
    ],
    cwd=ROOT,
    env={**os.environ, "PYTHONPATH": str(ROOT), "TFDS_DATA_DIR": str(data)},
    capture_output=True,
    text=True,
    timeout=600,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  return done.stdout


def check(preset="alfworld", **changes):
  """The checks of launch/sft.py at its start."""
  config = configs.load(preset)
  for key, value in changes.items():
    config.update_from_flattened_dict({key.replace("__", "."): value})
  bounds.check(configs.leaves(config))
  settings.check_cloning(config, envs.find(config.env.name))


@pytest.mark.parametrize("preset", ["alfworld", "webshop", "deep_search"])
def test_the_command_accepts_every_section_that_is_shipped(preset):
  check(preset)


def test_the_command_of_four_steps_that_readme_names_is_accepted_with_any_model():
  check("alfworld:smollm2-135m", sft__num_steps=4, model__path="alfworld-tiny")


@pytest.mark.parametrize(
  ("preset", "changes", "said"),
  [
    ("alfworld:smollm2-135m", dict(model__path="nowhere"), "There is no model in nowhere"),
    ("alfworld:qwen2.5-1.5b", {}, "The config has no section sft"),
    ("alfworld", dict(sft__demonstrations__small__colour=1), "demonstrations.small has an unk"),
    ("alfworld", dict(sft__batches__rows=1), "config.sft.batches has an unknown key 'rows'"),
    ("alfworld", dict(sft__fresh__model__width=1), "config.sft.fresh.model has an unknown key"),
    ("alfworld", dict(sft__fresh__model__num_key_value_heads=3), "num_attention_heads is 2"),
  ],
)
def test_the_command_refuses_a_wrong_config_before_it_makes_demonstrations(preset, changes, said):
  with pytest.raises((ValueError, FileNotFoundError), match=said):
    check(preset, **changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  """A folder with a policy that was cloned for two steps, and the output."""
  home = tmp_path_factory.mktemp("sft")
  episodes = {f"sft.demonstrations.{kind}.episodes": 6 for kind in ("small", "full")}
  flag = f"--out={home / 'model'}"
  out = launch("sft.py", "alfworld.py", home / "data", flag, **SMALL, **FRESH, **episodes)
  return home / "model", out


@pytest.mark.slow
def test_it_writes_a_model_and_its_tokenizer(made):
  path, out = made
  assert "step 2/2  loss " in out
  model = folder.load(path, sharding.make_mesh())
  assert model.config.vocab_size == chats.load(path).vocab_size
  assert model.config.num_hidden_layers == 1


@pytest.mark.slow
def test_it_goes_on_from_an_existing_model(made, tmp_path):
  settings = {**SMALL, "model.path": made[0], "sft.demonstrations.small.episodes": 6}
  settings |= {"sft.optimizer.warmup_steps": 0, "sft.batches.lengths": "(3072,)"}
  flag = f"--out={tmp_path / 'model'}"
  launch("sft.py", "alfworld.py:smollm2-135m", tmp_path / "data", flag, **settings)
  before, after = (folder.load(p, sharding.make_mesh()) for p in (made[0], tmp_path / "model"))
  assert before.config == after.config
  assert not np.array_equal(before.unembedding, after.unembedding)
  assert chats.load(tmp_path / "model").vocab_size == chats.load(made[0]).vocab_size


@pytest.mark.slow
@pytest.mark.parametrize("config", ["webshop.py", "deep_search.py"])
def test_a_policy_is_cloned_and_then_trained(config, tmp_path):
  settings = {**SMALL, **FRESH, "sft.demonstrations.embedded.episodes": 20}
  launch("sft.py", config, tmp_path / "data", f"--out={tmp_path / 'model'}", **settings)
  launch(
    "train.py", config, tmp_path, f"--workdir={tmp_path / 'run'}", num_steps=1,
    model__path=tmp_path / "model", rollout__tasks=2, rollout__group_size=2,
    rollout__max_turns=2, policy__slots=2, evaluation__tasks=2, train__size=2,
    train__lengths="()", evaluation__every=1,
  )  # fmt: skip
  _, row = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
  assert 0 <= row["eval/test/success"] <= 1 and row["update/skipped"] == 0
