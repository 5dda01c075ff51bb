"""launch/export.py writes the trained model, bit for bit, as a Hugging Face folder."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from empg_jax import chat as chats
from empg_jax.checkpoint import Checkpointer
from empg_jax.config import config as configs
from empg_jax.distributed import sharding
from empg_jax.models import folder, lora
from empg_jax.models.value_head import ValueHead
from empg_jax.training import state as states
from empg_jax.workdir import resume

ROOT = pathlib.Path(__file__).resolve().parents[1]
MESH = sharding.make_mesh()
OPTIMIZER = states.make_optimizer(learning_rate=1e-3)


def export(checkpoint, out, *arguments):
  return subprocess.run(
    [
      sys.executable, str(ROOT / "launch" / "export.py"), f"--checkpoint={checkpoint}",
      f"--out={out}", *arguments,
    ],
    cwd=ROOT,
    env={**os.environ, "PYTHONPATH": str(ROOT)},
    capture_output=True,
    text=True,
    timeout=600,
  )  # fmt: skip


def make_run(workdir, rank, trained, value_head=None):
  """A run of the shipped policy with two checkpoints; `trained` is the newer one."""
  config = configs.load("configs/alfworld.py")
  config.lora.rank = rank
  resume.claim(workdir, config)
  checkpointer = Checkpointer(workdir / "checkpoints")
  older = jax.tree.map(lambda x: 0 * x, trained)
  for step, model in ((1, older), (2, trained)):
    checkpointer.save(step, states.create(model, OPTIMIZER, value_head))
  checkpointer.close()


def noisy(tree):
  leaves, structure = jax.tree.flatten(tree)
  keys = jax.random.split(jax.random.key(0), len(leaves))
  return structure.unflatten(
    [x + 0.1 * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves)]
  )


@pytest.fixture(scope="module")
def base():
  return folder.load("alfworld-tiny", MESH)


@pytest.fixture(scope="module")
def exported(base, tmp_path_factory):
  """A model trained whole, and the folder it was exported to."""
  home, trained = tmp_path_factory.mktemp("run"), noisy(base)
  make_run(home / "run", 0, trained)
  done = export(home / "run", home / "out")
  assert done.returncode == 0, done.stderr
  assert "wrote the model of step 2" in done.stdout
  return trained, home / "out"


def test_a_trained_model_is_exported_bit_for_bit(exported):
  trained, out = exported
  back = jax.tree.leaves(folder.load(out, MESH))
  jax.tree.map(np.testing.assert_array_equal, back, jax.tree.leaves(trained))


def test_the_folder_has_the_tokenizer_and_the_ids_that_end_a_reply(exported):
  _, out = exported
  home = folder.locate("alfworld-tiny")
  assert (out / "tokenizer.model").read_bytes() == (home / "tokenizer.model").read_bytes()
  generation = json.loads((out / "generation_config.json").read_text())
  assert generation["eos_token_id"] == chats.load(out).end_id
  # For a qwen2 AutoTokenizer takes Qwen2's tokenizer; see tests/test_exporting.py.
  assert json.loads((out / "config.json").read_text())["architectures"] == ["SeedOssForCausalLM"]


def test_transformers_reads_the_folder_and_computes_the_same_logits(exported):
  torch = pytest.importorskip("torch", reason="torch is not installed")
  transformers = pytest.importorskip("transformers")
  trained, out = exported
  theirs = transformers.AutoModelForCausalLM.from_pretrained(out)
  tokens = np.random.default_rng(0).integers(0, 800, (1, 60)).astype(np.int32)
  with torch.no_grad():
    want = theirs(torch.tensor(tokens, dtype=torch.long)).logits.numpy()
  got = jax.jit(lambda m, x: m(x) @ m.unembedding)(trained, tokens)
  np.testing.assert_allclose(got, want, atol=1e-3, rtol=1e-4)
  assert theirs.generation_config.eos_token_id == chats.load(out).end_id


def test_adapters_are_merged_without_the_value_head_and_for_any_step(base, tmp_path):
  config = configs.load("configs/alfworld.py")
  config.lora.rank = 4
  adapters = noisy(lora.create(base, jax.random.key(0), **config.lora))
  make_run(tmp_path / "run", 4, adapters, ValueHead(base.config.hidden_size))
  done = export(tmp_path / "run" / "checkpoints" / "2", tmp_path / "out", "--dtype=bfloat16")
  assert done.returncode == 0, done.stderr
  want = jax.tree.map(lambda x: x.astype("bfloat16"), lora.merge(base, adapters))
  got = folder.load(tmp_path / "out", MESH, dtype="bfloat16")
  jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(got), jax.tree.leaves(want))


@pytest.mark.slow
def test_a_type_that_is_not_a_float_is_refused(tmp_path):
  done = export(tmp_path, tmp_path / "out", "--dtype=int8")
  assert done.returncode == 1
  assert "float32|bfloat16|float16" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_folder_without_a_run_is_refused(tmp_path):
  done = export(tmp_path, tmp_path / "out")
  assert done.returncode == 1
  assert "error: There is no checkpoint in" in done.stderr
