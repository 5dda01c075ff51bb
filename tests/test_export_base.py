"""Resume, evaluate, play and export refuse a model other than the one a run began with."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from empg_jax.chat import tokenizer_files
from empg_jax.checkpoint import Checkpointer, trained
from empg_jax.cli import command_line
from empg_jax.config import config as configs
from empg_jax.distributed import sharding
from empg_jax.evaluation import policies
from empg_jax.models import fingerprint, folder, lora
from empg_jax.training import state as states
from empg_jax.workdir import resume

ROOT = pathlib.Path(__file__).resolve().parents[1]
MESH = sharding.make_mesh()


@pytest.fixture
def base(tmp_path):
  """A copy of the shipped policy, whose files may be changed."""
  return shutil.copytree(folder.locate("alfworld-tiny"), tmp_path / "base")


@pytest.fixture
def run(tmp_path, base):
  """A workdir and its config, of adapters if a rank is given, with a checkpoint of step 1."""

  def make(rank):
    workdir, config = tmp_path / "run", configs.load("configs/alfworld.py")
    config.lora.rank, config.model.path = rank, str(base)
    resume.claim(workdir, config)
    fingerprint.claim(workdir, base, begun=False, weights=True)
    model = folder.load(base, MESH)
    model = lora.create(model, jax.random.key(0), **config.lora) if rank else model
    checkpointer = Checkpointer(workdir / "checkpoints")
    checkpointer.save(1, states.create(model, states.make_optimizer(learning_rate=1e-3)))
    checkpointer.close()
    return workdir, config

  return make


def change_weights(base):
  """Changes one weight in the middle of the file."""
  file = base / "model.safetensors"
  content = bytearray(file.read_bytes())
  content[len(content) // 2] ^= 1
  file.write_bytes(content)


def change_config(base):
  file = base / "config.json"
  file.write_text(json.dumps(json.loads(file.read_text()) | {"rope_theta": 5e5}))


def change_tokenizer(base):
  (base / "tokenizer.model").write_bytes((base / "tokenizer.model").read_bytes() + b"\0")


CHANGES = {"weights": change_weights, "config": change_config, "tokenizer": change_tokenizer}


def launch(script, *arguments):
  return subprocess.run(
    [sys.executable, f"launch/{script}.py", *arguments],
    cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
  )  # fmt: skip


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("part", CHANGES)
def test_a_checkpoint_over_another_base_is_refused_where_the_base_matters(run, base, rank, part):
  workdir, config = run(rank)
  checkpoint = workdir / "checkpoints" / "1"
  trained.load(config, checkpoint)
  CHANGES[part](base)
  if part == "weights" and not rank:  # the checkpoint has all of them
    trained.load(config, checkpoint)
    return
  # Another tokenizer may raise another error first.
  for load in (trained.load, policies.load)[: 1 if part == "tokenizer" else 2]:
    with pytest.raises(ValueError) as error:
      load(config, checkpoint)
    message = f"{base} is not the model that the run in {workdir} began with: its {part} changed"
    assert str(error.value).startswith(message)
    assert command_line.is_for_the_user(error.value)


def test_export_and_resume_refuse_adapters_over_another_base(run, base, tmp_path):
  workdir, config = run(4)
  change_weights(base)
  exported = launch("export", f"--checkpoint={workdir}", f"--out={tmp_path / 'out'}")
  resumed = launch(
    "train", "--config=configs/alfworld.py", f"--workdir={workdir}", f"--config.model.path={base}",
    "--config.lora.rank=4",
  )  # fmt: skip
  for done in (exported, resumed):
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {base} is not the model that the run in {workdir}")
    assert len(done.stderr.splitlines()) == 1
  assert not (tmp_path / "out").exists()


def test_a_resume_checks_the_weights_only_where_the_run_still_needs_them(run, base):
  workdir, _ = run(0)
  change_weights(base)
  fingerprint.claim(workdir, base, begun=True, weights=False)
  with pytest.raises(ValueError, match="its weights changed since"):
    fingerprint.claim(workdir, base, begun=True, weights=True)
  change_tokenizer(base)
  with pytest.raises(ValueError, match="its tokenizer and weights changed since"):
    fingerprint.claim(workdir, base, begun=True, weights=True)
  # A run that has not begun may begin with another model.
  fingerprint.claim(workdir, base, begun=False, weights=True)
  fingerprint.check(workdir, base, weights=True)


def test_a_resume_accepts_the_same_model_in_another_folder(run, base, tmp_path):
  workdir, _ = run(4)
  config = base / "config.json"
  config.write_text(json.dumps(json.loads(config.read_text()), indent=7))
  moved = base.rename(tmp_path / "moved")
  fingerprint.check(workdir, moved, weights=True)


def test_every_byte_of_large_files_counts(tmp_path, monkeypatch):
  file = tmp_path / "m.gguf"
  monkeypatch.setattr(fingerprint, "_PIECE", 64)
  content, seen = np.random.default_rng(0).integers(0, 256, 300, dtype=np.uint8), set()
  for at in (None, 0, 63, 64, 299):
    changed = content.copy()
    if at is not None:
      changed[at] ^= 1
    file.write_bytes(changed.tobytes())
    seen.add(fingerprint.of(file)["weights"])
  file.write_bytes(np.roll(content, 64).tobytes())
  seen.add(fingerprint.of(file)["weights"])
  assert len(seen) == 6


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"config": 1'])
def test_a_damaged_record_of_the_model_is_refused_at_resume(run, content):
  workdir, config = run(0)
  (workdir / fingerprint.FILE).write_text(content)
  with pytest.raises(ValueError, match="model.json is damaged.*or remove it"):
    fingerprint.check(workdir, config.model.path, weights=True)
  (workdir / fingerprint.FILE).unlink()
  fingerprint.check(workdir, config.model.path, weights=True)


def test_an_export_over_another_tokenizer_removes_all_of_it(base, tmp_path):
  (tmp_path / "tokenizer.json").write_text("{}")
  tokenizer_files.copy(base, tmp_path)
  assert (tmp_path / "tokenizer.model").is_file()
  assert not (tmp_path / "tokenizer.json").exists()
