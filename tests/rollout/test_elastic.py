"""A run of one slice goes on on another size of slice, and on another number of hosts."""

import os
import pathlib
import shutil
import socket
import subprocess
import sys

import elastic
import jax
import numpy as np
import pytest

from empg_jax.config import key_kinds
from empg_jax.distributed import sharding
from empg_jax.rollout import shares

ROOT = pathlib.Path(__file__).resolve().parents[2]


def on_two_hosts(folder, step):
  """Two processes with two devices each take a step."""
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{free.getsockname()[1]}"
  processes = [
    subprocess.Popen(
      [sys.executable, elastic.__file__, address, number, str(folder), str(step)],
      cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True, stderr=subprocess.PIPE,
    )
    for number in "01"
  ]  # fmt: skip
  try:
    for process in processes:
      _, err = process.communicate(timeout=900)
      assert process.returncode == 0, err
  finally:
    for process in processes:
      process.kill()


def transcripts(played):
  return [
    (x.task, x.group, x.index, x.ended, x.reward, [turn.reply.tolist() for turn in x.turns])
    for x in shares.from_bytes(played)
  ]


def test_a_run_goes_on_on_other_slices_and_hosts_with_the_same_episodes(tmp_path):
  """One host with eight devices, then two hosts with two each, then one with four."""
  eight = sharding.make_mesh(fsdp=4, tensor=2)
  straight, parameters = elastic.go_on(eight, tmp_path / "straight", 3)
  moved = tmp_path / "moved"
  shutil.copytree(tmp_path / "straight" / "1", moved / "1")
  on_two_hosts(moved, 2)
  four = sharding.make_mesh(data=2, tensor=2, devices=jax.devices()[:4])
  (last,), at_the_end = elastic.go_on(four, moved, 3)
  assert transcripts(last) == transcripts(straight[2]) != transcripts(straight[1])
  for one, other in zip(parameters, at_the_end, strict=True):
    # A step changes them by 0.04. EMPG's range of entropies, which are all alike in a model of
    # random numbers, makes more of the rounding on other meshes.
    np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("key", ["mesh.data", "mesh.fsdp", "mesh.tensor"])
def test_the_mesh_may_change_at_every_start(key):
  assert key_kinds.kind(key) == "operational"
