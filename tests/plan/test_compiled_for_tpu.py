"""Programs compiled for TPU topologies by the TPU compiler: their memory and collectives.

Skipped where libtpu is not installed (pip install 'jax[tpu]').
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

needs_compiler = pytest.mark.skipif(
  importlib.util.find_spec("libtpu") is None,
  reason="there is no TPU compiler: pip install 'jax[tpu]' brings it",
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
  process = run(*arguments, "--quick", f"--json={file}")
  assert process.returncode == 0, process.stderr
  return {program["name"]: program for program in json.loads(file.read_text())["programs"]}


@needs_compiler
def test_1_5_billion_parameters_train_on_eight_chips(tmp_path):
  found = plan(
    tmp_path, "--config=configs/alfworld.py:qwen2.5-1.5b", "--topology=v5e:2x4",
    "--program=train", "--config.pack.lengths=(2048,)",
  )  # fmt: skip
  train = found["train step"]
  parameters = 1.54e9 * 4 / 2**30 / 8
  # Policy, moments and, in half the bytes, the reference: none is whole on a chip.
  assert 3.5 * parameters < train["arguments"] < 3.7 * parameters
  assert train["peak"] < 8
  assert train["largest_buffer"] < 4 * 2048 * 151_936 / 8
  # A third again for recomputed layers, a third for the reference.
  assert 1.6 < train["flops"] / train["model_flops"] < 1.8
  kinds = {(x["kind"], *x["axes"]) for x in train["collectives"]}
  assert ("all-gather", "fsdp") in kinds or ("collective-permute", "fsdp") in kinds


@needs_compiler
@pytest.mark.parametrize("name", ["read", "write"])
def test_sampling_copies_no_cache_and_holds_no_scores_of_a_whole_piece(tmp_path, name):
  """Compiled as in a run: a program that compiles with low effort may fail with full effort."""
  file = tmp_path / "plan.json"
  process = run(
    "--config=configs/alfworld.py:qwen2.5-1.5b", "--topology=v5e:2x4", f"--program={name}",
    f"--json={file}",
  )  # fmt: skip
  assert process.returncode == 0, process.stderr
  (program,) = json.loads(file.read_text())["programs"]
  slots, columns, layers, heads, dim = 32, 32_768 + 2048, 28, 2, 128
  cache = 2 * 2 * slots * columns * layers * heads * dim / 2**30 / 8  # GiB a chip
  scores = 4 * (slots / 4) * 2048 * columns * 6 / 2**30
  assert program["temporaries"] < min(cache / 2, scores / 7)


@needs_compiler
def test_a_small_policy_trains_on_eight_chips(tmp_path):
  file = tmp_path / "plan.json"
  process = run(
    "--config=configs/alfworld.py", "--topology=v5e:2x4", "--program=train",
    "--config.mesh.data=8", "--config.train.size=8", f"--json={file}",
  )  # fmt: skip
  assert process.returncode == 0, process.stderr
  (train,) = json.loads(file.read_text())["programs"]
  assert train["peak"] < 0.5
  # Parameters are whole on each chip: what travels is their gradients, and less of all else
  # than the seven numbers a token that the batch has.
  others = [x["sent"] for x in train["collectives"] if x["kind"] != "all-reduce"]
  assert sum(others) < 7 * 4 * 128 * 1024


@needs_compiler
def test_a_program_that_does_not_fit_is_refused_in_one_line():
  process = run(
    "--config=configs/alfworld.py:qwen2.5-7b", "--topology=v5e:2x2",
    "--config.mesh.fsdp=4", "--config.mesh.tensor=1", "--config.train.size=4",
    "--config.pack.lengths=(128,)", "--program=train",
  )  # fmt: skip
  assert process.returncode == 1
  lines = [line for line in process.stderr.splitlines() if line.startswith("error: ")]
  assert len(lines) == 1
  assert "The update does not fit" in lines[0] and "take more chips" in lines[0]


@pytest.mark.skipif(
  importlib.util.find_spec("libtpu") is not None, reason="the TPU compiler is installed"
)
def test_without_the_compiler_the_error_says_how_to_install_it():
  process = run("--config=configs/alfworld.py:qwen2.5-7b", "--topology=v5e:2x4")
  assert process.returncode == 1
  assert process.stderr.startswith("error: There is no TPU compiler here: pip install")
  assert len(process.stderr.strip().splitlines()) == 1


@needs_compiler
def test_distributed_hosts_of_a_slice_fill_as_many_slots_each():
  program = """
from empg_jax.distributed import sharding
from empg_jax.generation import owners
from empg_jax.plan import topology
topology.prepare("v5e:8x8")
devices = topology.devices("v5e:8x8")
mesh = sharding.make_mesh(fsdp=16, tensor=4, devices=devices)
print(max(len({chip.process_index for chip in row}) for row in mesh.devices.reshape(16, 4)))
hosts = {chip.process_index for chip in devices}
print(*(owners.HostSlots(mesh, 64, host).count for host in hosts))
"""
  done = subprocess.run(
    [sys.executable, "-c", program], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    capture_output=True, text=True,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  sharing, counts = done.stdout.splitlines()[-2:]
  assert sharing == "2" and counts.split() == ["4"] * 16  # though `tensor` goes over two hosts
