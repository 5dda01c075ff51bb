"""launch/train.py --dry_run describes a run without loading or writing anything."""

import os
import pathlib
import re
import subprocess
import sys

import jax
import pytest

from empg_jax.cli import dry_run
from empg_jax.config import config as configs, lookup
from empg_jax.distributed import sharding
from empg_jax.models import folder
from empg_jax.plan import memory, shapes
from empg_jax.training import state as states

ROOT = pathlib.Path(__file__).resolve().parents[1]


def described(path, workdir=pathlib.Path("nowhere"), **changes):
  """The lines, and the error if the run cannot start."""
  config = configs.load(path)
  for key, value in changes.items():
    section, name = key.split("__")
    config[section][name] = value
  environment = lookup.find("empg_jax.envs", config.env.name)
  found = []
  try:
    for line in dry_run.lines(config, environment, workdir, path.partition(":")[2]):
      found.append(line)
  except dry_run.Missing as error:
    found.append(str(error))
  return "\n".join(found)


def run(*arguments):
  return subprocess.run(
    [sys.executable, str(ROOT / "launch" / "train.py"), "--dry_run", *arguments],
    cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    timeout=600,
  )  # fmt: skip


def test_it_prints_the_summary_and_leaves_nothing(tmp_path):
  done = run("--config=configs/alfworld.py", f"--workdir={tmp_path / 'run'}")
  assert done.returncode == 0, done.stderr
  assert done.stdout.startswith("MODEL") and "train: 2,000" in done.stdout
  assert "batch: [128, 1,024], a row an episode" in done.stdout
  assert "32 microbatches of 4 rows" in done.stdout
  assert "MISSING" not in done.stdout and '"num_steps"' not in done.stdout
  assert not (tmp_path / "run").exists()


def test_what_is_missing_comes_last_and_is_an_error(tmp_path):
  done = run(
    "--config=configs/alfworld.py", f"--workdir={tmp_path}", "--show_config",
    "--config.model.path=nowhere", "--config.tasks.games=big", "--config.num_steps=7",
  )  # fmt: skip
  assert done.returncode == 1
  assert done.stderr == "error: This run cannot start here: 2 things are missing.\n"
  assert done.stdout.startswith("{") and '"num_steps": 7' in done.stdout
  head, missing = done.stdout.split("\nMISSING\n")
  first, second = missing.splitlines()
  assert "There is no model in nowhere" in first and "'big'" in second
  assert "SHAPES" in head


def test_its_memory_is_that_of_the_arrays():
  config = configs.load("configs/alfworld.py")
  model = folder.load("alfworld-tiny", sharding.make_mesh())
  size = lambda tree: sum(x.nbytes for x in jax.tree.leaves(tree))
  state = states.create(model, states.make_optimizer(**config.optimizer))
  mesh = dry_run._mesh(config)
  found = {i.name: i for i in memory.items(config, model.config, mesh)}
  assert found["parameters (float32)"].total == size(model)
  assert found["AdamW's moments"].total == size(state.opt_state)
  assert memory.count(model.config) == sum(x.size for x in jax.tree.leaves(model))
  cache = found["KV cache, 64 conversations of 1,024 tokens"]
  assert cache.total == 64 * 1024 * 5 * 2 * 64 * 2  # layers, keys and values, width, bytes
  apart = {i.name: i for i in memory.items(config, model.config, mesh, copies=4)}
  # Two devices have episodes for their slots.
  assert apart["KV cache, 128 conversations of 1,024 tokens"].total == 2 * cache.total
  assert {i.device for i in found.values()} == {i.total for i in found.values()}


def test_a_released_models_memory_is_known_without_the_model(monkeypatch):
  monkeypatch.delenv("ALFWORLD_DATA", raising=False)
  text = described("configs/alfworld.py:qwen2.5-7b")
  missing = text.partition("\nMISSING\n")[2]
  assert "No model is named" in missing and missing.count("ALFWORLD_DATA") == 1
  assert "7,615,616,512 parameters" in text
  assert "config.mesh takes 64 devices" in missing and "3 things are missing" in missing
  assert "together in the rollout" in text and "of 16,128.0 on v5e:8x8" in text
  total, device = re.search(r"parameters \(float32\) +([\d,.]+) +([\d,.]+) on each", text).groups()
  total, device = (float(x.replace(",", "")) for x in (total, device))
  assert total == pytest.approx(4 * 7_615_616_512 / 2**20, abs=0.1)
  assert device == pytest.approx(total / 64, rel=0.01)


def test_adapters_have_moments_of_their_own_and_the_base_has_none():
  config = configs.load("configs/alfworld.py:qwen2.5-1.5b")
  shape, mesh = shapes.KNOWN["qwen2.5-1.5b"], dry_run._mesh(config)
  whole = {i.name: i.total for i in memory.items(config, shape, mesh)}
  config.lora.rank = 16
  few = {i.name: i.total for i in memory.items(config, shape, mesh)}
  assert "reference policy" in whole and "reference policy" not in few
  assert few["AdamW's moments"] == pytest.approx(2 * few["adapters of rank 16"], rel=1e-3)
  assert few["AdamW's moments"] < whole["AdamW's moments"] / 50


def test_a_run_that_goes_on_says_so(tmp_path):
  (tmp_path / "checkpoints" / "30").mkdir(parents=True)
  assert "goes on from step 30 of 50" in described("configs/alfworld.py", tmp_path)


def test_what_does_not_fit_its_slice_is_missing_memory_with_the_change_that_fits():
  text = described("configs/alfworld.py:qwen2.5-7b", policy__max_length=786_432)
  (sentence,) = re.findall("Memory: .*", text.partition("\nMISSING\n")[2])
  assert (
    "the rollout does not fit: it takes 26.1 GiB per chip, 10.4 more than the 15.75" in sentence
  )
  assert sentence.endswith("it fits with config.policy.slots=16.")
  assert "Memory" not in described("configs/alfworld.py:qwen2.5-7b")


def test_a_mesh_that_does_not_divide_the_heads_is_refused():
  with pytest.raises(ValueError, match="2 key/value heads do not divide over .*tensor 4"):
    described("configs/alfworld.py:qwen2.5-1.5b", mesh__tensor=4)
