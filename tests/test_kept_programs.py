"""Compiled programs are cached in a workdir, also for copies of it, and compiled once."""

import os
import pathlib
import shutil
import subprocess
import sys

import jax

from empg_jax.generation.policy import Policy
from empg_jax.io import paths
from empg_jax.models.decoder import Decoder, DecoderConfig

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROGRAM = """
import sys, jax
from empg_jax.kernels import hardware
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event))
hardware.keep_programs(sys.argv[1])
print(jax.jit(lambda x: x @ x + 1)(jax.numpy.ones((4, 4))).sum())
print("hits", hits.count("/jax/compilation_cache/cache_hits"))
"""


def compile_in(folder, **variables):
  """Compiles in a process that caches its programs in a folder; how many it finds there."""
  environment = {name: x for name, x in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
  variables |= {"PYTHONPATH": str(ROOT), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
  done = subprocess.run(
    [sys.executable, "-c", PROGRAM, folder], cwd=ROOT, env=environment | variables, check=True,
    capture_output=True, text=True,
  )  # fmt: skip
  return int(done.stdout.split("hits ")[1])


def kept(folder):
  compile_in(folder)
  return programs(folder)


def programs(folder):
  return {file.name for file in folder.iterdir() if file.name.endswith("-cache")}


def test_programs_are_found_again_in_a_copied_folder(tmp_path):
  first = kept(tmp_path / "run")
  shutil.copytree(tmp_path / "run", tmp_path / "elsewhere" / "copy")
  assert first and kept(tmp_path / "elsewhere" / "copy") == first


def test_runs_share_the_folder_that_the_environment_names(tmp_path):
  compile_in(tmp_path / "run", JAX_COMPILATION_CACHE_DIR=str(tmp_path / "shared"))
  assert not (tmp_path / "run").exists()
  assert programs(tmp_path / "shared") == kept(tmp_path / "alone")


def test_what_one_host_compiled_another_finds_in_a_bucket(bucket):
  folder = paths.of(f"{bucket}/run/compiled")
  assert compile_in(folder) == 0
  there = programs(folder)
  assert there and compile_in(folder) == len(there)


def test_each_set_always_has_the_same_device():
  model = Decoder(DecoderConfig(64, 16, 32, 1, 2, 1, 8), jax.random.key(0))
  policy = Policy(
    model, slots=2, max_length=32, max_reply=4, end_id=0, piece_lengths=(8,), windows=(32,),
    devices=jax.local_devices()[:2],
  )  # fmt: skip
  key = jax.random.key(0)
  place = lambda number: next(iter(jax.tree.leaves(policy.start(number, key).cache)[0].devices()))
  assert place(0) == place(0) == jax.local_devices()[0] and place(1) == jax.local_devices()[1]
