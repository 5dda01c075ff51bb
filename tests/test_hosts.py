"""A run on several hosts: two check and train as one, and wrong names raise a one-line error."""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from empg_jax.distributed import hosts, sharding
from empg_jax.tracking import episode_files

ROOT = pathlib.Path(__file__).resolve().parents[1]
NAMES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
SMALL = {
  "num_steps": 1,
  "mesh.data": 2,
  "mesh.fsdp": 2,
  "rollout.tasks": 1,
  "rollout.group_size": 4,
  "rollout.max_turns": 2,
  "policy.slots": 4,
  "policy.max_length": 256,
  "policy.windows": "(256,)",
  "policy.piece_lengths": "(48,)",
  "pack.lengths": "(256,)",
  "train.lengths": "()",
  "evaluation.tasks": 1,
  "evaluation.every": 1,
  "checkpoint.every": 1,
}
# Gloo's threads print too: numbers and these pieces, before, after and between our lines.
GLOO = r"\[Gloo\]|Rank|is connected to|peer ranks\.|Expected number of connected peer ranks is :"


def run_two(script, workdir):
  """The outputs of two processes with two devices each that run a script."""
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{free.getsockname()[1]}"
  processes = []
  for number in range(2):
    environment = {
      **os.environ, "PYTHONPATH": str(ROOT), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
      **dict(zip(NAMES, (address, "2", str(number)))),
    }  # fmt: skip
    environment.pop("JAX_NUM_CPU_DEVICES", None)
    processes.append(
      subprocess.Popen(
        [
          sys.executable, script, "--config=configs/alfworld.py",
          f"--workdir={workdir}", *(f"--config.{key}={x}" for key, x in SMALL.items()),
        ],
        cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
      )
    )  # fmt: skip
  try:
    outputs = [process.communicate(timeout=900) for process in processes]
  finally:
    for process in processes:
      process.kill()
  for process, (_, err) in zip(processes, outputs):
    assert process.returncode == 0, err
  lines = [re.sub(GLOO, "", out).splitlines() for out, _ in outputs]
  return [[line for x in output if (line := x.lstrip(" 0123456789"))] for output in lines]


def check_table(workdir):
  """Two processes check the hardware; what they find stands in a table, and programs are kept."""
  (_, head, *rows), second = run_two("launch/check.py", workdir)
  assert head.split() == ["planned", "measured"] and second == []
  table = {row[:27].strip(): (row[28:53].strip(), row[54:]) for row in rows}
  assert table["devices"] == ("data 2, fsdp 2, tensor 1", "2 hosts, 4 x cpu")
  assert table["workdir"][1].startswith("16 MiB a host, seen by all: ")
  planned, loaded = table["parameters and moments"]
  assert float(planned.split()[0]) == float(loaded.split()[0]) > 0
  assert {"compile the train step", "play a group", "update on it", "update of 1,024 tokens",
          "programs of the run",
          "memory of a device at most", "save a checkpoint"} <= table.keys()  # fmt: skip
  assert table["play a group"][1].startswith("4 episodes, ")
  assert table["restore it"][0] == "the same, bit for bit"
  assert {path.name for path in workdir.iterdir()} <= {"compiled", "lock"}  # the rest is removed


@pytest.mark.slow
def test_distributed_processes_check_play_train_and_go_on_as_one(tmp_path):
  check_table(tmp_path)
  first, second = run_two("launch/train.py", tmp_path)
  assert any(line.startswith("step success") for line in first)
  assert second == []
  rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
  assert [row["step"] for row in rows] == [0, 1]
  # The update on all four devices has the probabilities of the sampling.
  assert abs(rows[1]["loss/behavior_kl"]) < 1e-4
  # The first process wrote the episodes of both and the results of all evaluated tasks.
  assert rows[1]["train/episodes"] + rows[1]["train/aborted"] == 4
  assert rows[1]["eval/valid_seen/episodes"] == 1
  sets = [episode_files.read(path) for path in episode_files.files(tmp_path)]
  assert [len(played.episodes) for played in sets if played.split == "train"] == [4]
  again, _ = run_two("launch/train.py", tmp_path)
  assert "going on from the checkpoint of step 1" in again


def of_two(code):
  """Exit code, output and errors of two processes that run the code."""
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{free.getsockname()[1]}"
  processes = [
    subprocess.Popen(
      [sys.executable, "-c", code], cwd=ROOT, text=True,
      stdout=subprocess.PIPE, stderr=subprocess.PIPE,
      env={**os.environ, "PYTHONPATH": str(ROOT), **dict(zip(NAMES, (address, "2", number)))},
    )
    for number in "01"
  ]  # fmt: skip
  try:
    said = [process.communicate(timeout=120) for process in processes]  # JAX waits for 300
  finally:
    for process in processes:
      process.kill()
  return [(process.returncode, *texts) for process, texts in zip(processes, said)]


@pytest.mark.parametrize("failing", [0, 1])
def test_when_a_distributed_process_fails_the_other_ends_too(failing):
  code = f"""
import numpy as np
from empg_jax.distributed import hosts
hosts.join()
with hosts.together():
  hosts.gather(np.zeros(1, np.int32))
  if hosts.process_index() == {failing}:
    raise ValueError("a mistake")
  hosts.gather(np.zeros(1, np.int32))
"""
  ends = of_two(code)
  assert [code for code, *_ in ends] == [1, 1]
  assert ends[failing][2].endswith("ValueError: a mistake\n")
  assert ends[1 - failing][2] == f"error: process {failing} of the run failed; see its output.\n"


def test_distributed_processes_exchange_numbers_and_long_messages():
  code = """
import numpy as np, jax
from empg_jax.distributed import hosts
hosts.join()
me = hosts.process_index()
for i in range(3):
  print("numbers", *hosts.gather(np.array([i, -me], np.int32)).ravel())
said = hosts.gather_bytes(bytes([me + 1]) * (3 if me else 2**20 + 5))
print("messages", *map(len, said), *(set(x) for x in said))
print("nothing", hosts.gather_bytes(b""))
"""
  for _, out, _ in of_two(code):
    for i in range(3):
      assert f"numbers {i} 0 {i} -1\n" in out, out
    assert "messages 1048581 3 {1} {2}\n" in out and "nothing [b'', b'']\n" in out, out


def test_a_single_process_exchanges_nothing():
  assert hosts.gather(np.array([3, 4], np.int32)).tolist() == [[3, 4]]
  assert hosts.gather_bytes(b"said") == [b"said"]


def test_a_single_process_joins_no_others(monkeypatch):
  for name in NAMES:
    monkeypatch.delenv(name, raising=False)
  monkeypatch.setattr(jax.distributed, "initialize", lambda *_: pytest.fail("joined"))
  hosts.join()


@pytest.mark.parametrize(
  "values",
  [
    ("host:1", "", ""),
    ("", "2", "0"),
    ("host:1", "two", "0"),
    ("host:1", "2", "-1"),
    ("host:1", "2", "2"),
  ],
)
def test_incomplete_names_of_hosts_are_refused(monkeypatch, values):
  for name, value in zip(NAMES, values):
    monkeypatch.setenv(name, value)
  with pytest.raises(ValueError, match="The hosts of the run are not clear from JAX_COORD.*set"):
    hosts.join()


def test_hosts_are_named_by_the_environment_or_found_on_a_tpu(monkeypatch):
  joined = []
  monkeypatch.setattr(jax.distributed, "initialize", lambda *given: joined.append(given))
  for name, value in zip(NAMES, ("host:1", "4", "3")):
    monkeypatch.setenv(name, value)
  hosts.join()
  for name in NAMES:
    monkeypatch.delenv(name)
  monkeypatch.setattr(type(jax.config), "jax_platforms", "tpu,cpu", raising=False)
  hosts.join()
  assert joined == [("host:1", 4, 3), ()]


def test_on_several_hosts_the_mesh_takes_all_devices(monkeypatch):
  monkeypatch.setattr(jax, "process_count", lambda: 2)
  assert sharding.make_mesh(fsdp=0, tensor=2).size == 8
  with pytest.raises(ValueError, match="config.mesh takes 4 of 8 devices, but on several hosts"):
    sharding.make_mesh(fsdp=4)
