"""Every preset is a valid config of launch/train.py; a released model trains from its folder."""

import json
import os
import pathlib
import runpy
import subprocess
import sys

import jax
import pytest

from empg_jax import algorithms
from empg_jax.config import config as configs, lookup, presets
from empg_jax.loop import settings
from empg_jax.models import folder
from empg_jax.models.decoder import Decoder, DecoderConfig

ROOT = pathlib.Path(__file__).resolve().parents[1]
PRESETS = [
  f"configs/{file.name}:{preset}"
  for file in sorted((ROOT / "configs").glob("*.py"))
  for preset in runpy.run_path(str(file))["_PRESETS"]
]
SMALL = {  # a released model's preset, cut down to one step of a tiny model on one device
  "num_steps": 1,
  "tasks.games": "small",
  "mesh.fsdp": 1,
  "mesh.tensor": 1,
  "rollout.tasks": 2,
  "rollout.group_size": 2,
  "rollout.max_turns": 2,
  "rollout.max_rounds": 2,
  "policy.slots": 2,
  "policy.max_length": 2048,
  "policy.max_reply": 8,
  "policy.windows": "(2048,)",
  "policy.piece_lengths": "(512, 1024, 2048)",
  "pack.lengths": "(2048,)",
  "train.size": 2,
  "train.minibatches": 2,
  "evaluation.tasks": 1,
  "evaluation.every": 1,
}


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_fits_the_functions_that_it_configures(preset):
  config = configs.load(str(ROOT / preset))
  if "fsdp" in config.mesh:  # the preset needs more devices than there are
    config.mesh = dict(data=1, fsdp=1, tensor=1)
  environment = lookup.find("empg_jax.envs", config.env.name)
  settings.check(config, environment)
  algorithms.make(**config.algorithm.to_dict())


def test_an_unknown_preset_is_refused_with_the_known_ones():
  with pytest.raises(ValueError, match="no preset 'qwen2.5-7': did you mean 'qwen2.5-7b'"):
    configs.load(str(ROOT / "configs/alfworld.py:qwen2.5-7"))


def test_a_released_models_preset_divides_over_its_slice():
  for name, hardware in presets.MODELS.items():
    config = configs.load(str(ROOT / f"configs/alfworld.py:{name}"))
    assert config.train.size % hardware.fsdp == 0
    rows = config.rollout.tasks * config.rollout.group_size
    assert rows % (config.train.size * config.train.minibatches) == 0


def test_the_papers_rows_have_its_settings():
  config = configs.load(str(ROOT / "configs/webshop.py:paper-dapo-empg-7b"))
  base = config.algorithm.base
  assert (config.algorithm.name, base.name, base.clip_low, base.clip_high) == (
    "empg", "dapo", 0.2, 0.28
  )  # fmt: skip
  assert (base.kl_coef, base.entropy_coef, base.dual_clip) == (0.01, 0.001, 3.0)
  assert base.ddof == 1  # verl-agent's deviation, over n - 1
  assert (config.algorithm.k, config.algorithm.k_future, config.algorithm.zeta) == (1, 1, 0.05)
  assert (config.rollout.tasks, config.rollout.group_size, config.rollout.max_rounds) == (16, 8, 10)
  assert config.rollout.window == 2
  assert (config.num_steps, config.optimizer.learning_rate) == (150, 1e-6)
  grpo = configs.load(str(ROOT / "configs/alfworld.py:paper-grpo-llama-8b")).algorithm
  assert (grpo.name, grpo.aggregation, grpo.kl_coef) == ("grpo", "token_mean", 0.01)
  assert grpo.ddof == 1
  tiny = configs.load(str(ROOT / "configs/alfworld.py:tiny-gigpo")).algorithm
  assert tiny.ddof == 0  # README's results of tiny policies use the population's


def test_deep_search_has_the_papers_settings_for_it():
  config = configs.load(str(ROOT / "configs/deep_search.py:qwen2.5-32b"))
  base = config.algorithm.base
  assert (config.algorithm.zeta, base.name, base.clip_high, base.kl_coef, base.entropy_coef) == (
    0.1, "dapo", 0.28, 0.001, 0.0
  )  # fmt: skip
  assert (config.rollout.tasks, config.rollout.group_size, config.rollout.max_turns) == (64, 16, 15)
  assert config.num_steps == 220 and config.env.max_actions == 15


def test_deep_search_has_the_four_rows_of_the_papers_ablation():
  made = lambda row: configs.load(str(ROOT / f"configs/deep_search.py:paper-dapo{row}-32b"))
  whole, base = configs.load(str(ROOT / "configs/deep_search.py:qwen2.5-32b")), made("")
  assert made("-empg").to_dict() == whole.to_dict()
  assert base.algorithm.to_dict() == whole.algorithm.base.to_dict()
  assert (base.rollout.max_rounds, base.num_steps) == (10, 220)
  for row, off in (("-empg-scaling", "zeta"), ("-empg-bonus", "k")):
    assert made(row).algorithm.to_dict() == whole.algorithm.to_dict() | {off: 0.0}


@pytest.mark.slow
def test_it_trains_from_a_folder_of_the_hub(tmp_path):
  """With the model's own tokenizer and chat template, and a KL penalty to the initial policy."""
  tokenizer = runpy.run_path(str(ROOT / "tests" / "chat" / "families.py"))["tokenizer"]("qwen2.5")
  shape = DecoderConfig(
    vocab_size=len(tokenizer),
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=16,
  )
  folder.save(Decoder(shape, jax.random.key(0)), tmp_path / "model")
  tokenizer.save_pretrained(tmp_path / "model")
  workdir = tmp_path / "run"
  settings = {"model.path": tmp_path / "model", **SMALL}
  done = subprocess.run(
    [
      sys.executable, str(ROOT / "launch" / "train.py"),
      "--config=configs/alfworld.py:paper-dapo-empg-1.5b", f"--workdir={workdir}",
      *(f"--config.{key}={value}" for key, value in settings.items()),
    ],
    cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    timeout=600,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  _, row = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
  assert row["update/grad_norm"] > 0 and row["update/skipped"] == 0
  assert row["loss/kl"] >= 0 and 0 <= row["train/groups_dropped"] <= 4
  assert row["train/entropy_turn/1"] > 0
