"""Programs compiled for GPUs by XLA's GPU compiler: their memory, kernels and collectives.

Skipped where it is not installed (pip install 'jax[cuda13]', 4.6 GB).
"""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.usefixtures("optimized")
ROOT = pathlib.Path(__file__).resolve().parents[2]
INSTALLED = importlib.util.find_spec("jax_cuda13_plugin") is not None

needs_compiler = pytest.mark.skipif(
  not INSTALLED, reason="there is no GPU compiler: pip install 'jax[cuda13]' brings it"
)


def run(*arguments):
  environment = {**os.environ, "PYTHONPATH": str(ROOT)}
  environment.pop("JAX_NUM_CPU_DEVICES", None)
  return subprocess.run(
    [sys.executable, "launch/plan.py", *arguments],
    cwd=ROOT, env=environment, capture_output=True, text=True,
  )  # fmt: skip


def plan(tmp_path, *arguments):
  file = tmp_path / "plan.json"
  process = run(*arguments, f"--json={file}")
  assert process.returncode == 0, process.stderr
  assert "does not fit" not in process.stdout
  return {program["name"]: program for program in json.loads(file.read_text())["programs"]}


def attends_by_cudnn(train):
  calls = train["custom_calls"]
  assert calls["__cudnn$fmhaSoftmax"] > 0 and calls["__cudnn$fmhaSoftmaxBackward"] > 0


@needs_compiler
def test_a_small_policy_trains_and_plays_on_one_gpu(tmp_path):
  found = plan(
    tmp_path, "--config=configs/alfworld.py", "--topology=h100:1", "--program=train",
    "--program=write", "--config.train.lengths=()",
  )  # fmt: skip
  train, write = found["train step"], found["write"]
  attends_by_cudnn(train)
  assert train["peak"] < 0.6 and train["collectives"] == write["collectives"] == []
  slots, columns, layers, heads, dim = 64, 1024 + 48, 5, 1, 64
  cache = 2 * 2 * slots * columns * layers * heads * dim / 2**30  # GiB
  assert write["temporaries"] < 1.1 * cache


@needs_compiler
def test_1_5_billion_parameters_train_on_one_gpu(tmp_path):
  (train,) = plan(
    tmp_path, "--config=configs/alfworld.py:qwen2.5-1.5b-h100", "--topology=h100:1",
    "--program=train", "--config.pack.lengths=(4096,)", "--config.policy.max_length=4096",
  ).values()  # fmt: skip
  attends_by_cudnn(train)
  parameters = 1.54e9 * 4 / 2**30
  assert 3.5 * parameters < train["arguments"] < 3.7 * parameters
  assert train["peak"] < 40
  assert train["largest_buffer"] < 2 * 4096 * 151_936 / 2  # whole logits of a microbatch
  assert train["compile_s"] < 600


@needs_compiler
def test_writing_a_token_copies_no_keys(tmp_path):
  """XLA joins products of one operand, and would copy the others for that: all spans' keys."""
  (write,) = plan(
    tmp_path, "--config=configs/alfworld.py:qwen2.5-1.5b-h100", "--topology=h100:1",
    "--program=write", "--config.policy.max_length=4096", "--config.policy.windows=(2048,)",
  ).values()  # fmt: skip
  slots, heads, columns, dim = 32, 2, 4096, 128
  keys_of_a_layer = 2 * slots * heads * columns * dim / 2**30  # GiB
  assert write["temporaries"] < keys_of_a_layer


@needs_compiler
def test_1_5_billion_parameters_are_divided_over_eight_gpus(tmp_path):
  (train,) = plan(
    tmp_path, "--config=configs/alfworld.py:qwen2.5-1.5b-h100", "--topology=h100:8",
    "--program=train", "--config.pack.lengths=(4096,)", "--config.policy.max_length=4096",
    "--config.mesh.fsdp=8", "--config.train.size=8",
  ).values()  # fmt: skip
  attends_by_cudnn(train)
  parameters = 1.54e9 * 4 / 2**30 / 8
  assert 3.5 * parameters < train["arguments"] < 3.8 * parameters
  kinds = {x["kind"] for x in train["collectives"] if x["sent"] > 1e6}
  assert "all-gather" in kinds and kinds & {"reduce-scatter", "all-reduce"}
  assert {axis for x in train["collectives"] for axis in x["axes"]} == {"fsdp"}


@pytest.mark.skipif(INSTALLED, reason="the GPU compiler is installed")
def test_without_the_compiler_the_error_says_how_to_install_it():
  process = run("--config=configs/alfworld.py:qwen2.5-1.5b-h100", "--topology=h100:1")
  assert process.returncode == 1
  assert process.stderr == (
    "error: There is no GPU compiler here: pip install 'jax[cuda13]' brings it; it needs no GPU,"
    " and takes 4.6 GB.\n"
  )
