"""JAX_DISABLE_JIT=1: a run does the same, and arrays in every part are concrete."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from empg_jax.soak import runs

HERE = pathlib.Path(__file__).resolve().parent
NUMBERS = re.compile(r"-?\d\.\d+")


@pytest.mark.slow
def test_every_part_of_a_step_shows_numbers(tmp_path):
  runs.write_model(tmp_path)
  done = subprocess.run(
    [sys.executable, HERE / "without_jit.py", tmp_path],
    env=os.environ | {"JAX_DISABLE_JIT": "1", "PYTHONPATH": str(HERE.parent)},
    capture_output=True,
    text=True,
    timeout=600,
  )
  assert done.returncode == 0, done.stderr
  found = json.loads(done.stdout.splitlines()[-1])
  assert len(found["seen"]) == 4
  for part, shown in found["seen"].items():
    assert NUMBERS.search(shown), f"{part} shows {shown}"
  metrics = found["metrics"]
  assert metrics["update/finite"] == 1 and abs(metrics["loss/behavior_kl"]) < 1e-3
