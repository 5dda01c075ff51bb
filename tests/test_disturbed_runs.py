"""Runs that are killed, preempted and hurt come to what an undisturbed run comes to, bit for bit."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from empg_jax.soak import compare, faults, runs

ROOT = pathlib.Path(__file__).resolve().parents[1]
STEPS = 10


@pytest.fixture(scope="module")
def home(tmp_path_factory):
  """A folder with a model, and a run that nothing befell."""
  home = tmp_path_factory.mktemp("runs")
  runs.write_model(home / "model")
  code = start(home, "straight").wait()
  assert code == 0, said(home, "straight")
  return home


def start(home, name):
  if not (home / name).exists() and name != "straight":  # what is compiled need not be again
    shutil.copytree(home / "straight" / "compiled", home / name / "compiled")
  command = runs.command(home / name, home / "model", STEPS, workers__count=0)
  return runs.start(command, home / f"{name}.log")


def said(home, name):
  return (home / f"{name}.log").read_text()


def steps(home, name):
  """How many rows the metrics have."""
  file = home / name / "metrics.jsonl"
  return file.read_text().count("\n") if file.exists() else 0


def check_same(home, name):
  assert compare.rows(home / "straight", home / name) == []
  assert compare.states(home / "straight", home / name) == []
  assert compare.played(home / "straight", home / name) == []
  file = home / name / "metrics.jsonl"
  assert [json.loads(x)["step"] for x in file.read_text().splitlines()] == list(range(STEPS + 1))


def test_a_resume_that_is_not_exact_would_be_seen(home):
  other = shutil.copytree(home / "straight", home / "other")
  rows = [json.loads(line) for line in (other / "metrics.jsonl").read_text().splitlines()]
  rows[3]["update/grad_norm"] += 1e-9
  (other / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  assert compare.rows(home / "straight", other) == [3]
  shutil.rmtree(other / "checkpoints" / str(STEPS))  # so that the newest is of other parameters
  assert compare.states(home / "straight", other)
  file = sorted((other / "episodes").iterdir())[-1]
  file.unlink()
  assert compare.played(home / "straight", other) == [file.name]


@pytest.mark.parametrize("seed", [0])
def test_resume_is_exact_however_often_a_run_is_killed(home, seed):
  rng, name = np.random.default_rng(seed), f"killed{seed}"
  for after, fault in ((2, faults.kill), (4, faults.kill_in_save), (6, faults.damage)):
    run = start(home, name)
    faults.wait_until(lambda: steps(home, name) >= after or run.poll() is not None)
    time.sleep(rng.uniform(0, 0.2))
    fault(run, home / name, rng)
  with (home / name / "metrics.jsonl").open("a") as file:
    file.write(f'{{"step": {STEPS}, "train/succ')  # as a machine leaves it that lost its power
  assert start(home, name).wait() == 0, said(home, name)
  check_same(home, name)


def test_preempted_it_saves_and_goes_on_exactly(home):
  run = start(home, "preempted")
  faults.wait_until(lambda: steps(home, "preempted") >= 2 or run.poll() is not None)
  run.send_signal(signal.SIGTERM)
  assert run.wait() == 0, said(home, "preempted")
  text = said(home, "preempted")
  assert "asked to stop (SIGTERM)" in text and "the same command goes on from there" in text
  done = steps(home, "preempted") - 1
  assert (home / "preempted" / "checkpoints" / str(done)).is_dir()
  assert start(home, "preempted").wait() == 0, said(home, "preempted")
  assert f"going on from the checkpoint of step {done}" in said(home, "preempted")
  check_same(home, "preempted")


INTERRUPTED = """
import time
from empg_jax import preemption
with preemption.listening() as asked:
  print("listening", flush=True)
  while not asked():
    time.sleep(0.01)
  print("asked", flush=True)
  THEN
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_preemption_is_heard_and_a_second_interrupt_ends_at_once(number):
  for then, code in (("pass", 0), ("time.sleep(1000)", 130)):
    run = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED.replace("THEN", then)], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert run.stdout.readline() == "listening\n"
    run.send_signal(number)
    assert run.stdout.readline() == "asked\n"
    if code:
      run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=300)
    assert run.returncode == code, err
    assert f"asked to stop ({number.name})" in err


SEVERAL = """
import time
import numpy as np
from empg_jax import hosts, preemption
hosts.join()
with preemption.listening() as asked:
  print("listening", flush=True)
  turn = 0
  while not hosts.gather(np.asarray([asked()], np.int32)).any():
    turn += 1
    time.sleep(0.05)
print("stopped at", turn, flush=True)
"""


def test_preemption_of_one_host_stops_all_at_the_same_turn():
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{free.getsockname()[1]}"
  processes = []
  for number in "01":
    names = dict(JAX_COORDINATOR_ADDRESS=address, JAX_NUM_PROCESSES="2", JAX_PROCESS_ID=number)
    processes.append(
        subprocess.Popen(
            [sys.executable, "-c", SEVERAL], cwd=ROOT, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT), **names},
        )
    )  # fmt: skip
  for process in processes:
    while process.stdout.readline() != "listening\n":
      assert process.poll() is None
  processes[1].terminate()
  told = [process.communicate(timeout=300)[0].splitlines()[-1] for process in processes]
  assert told[0].startswith("stopped at") and told[0] == told[1]
  assert [process.returncode for process in processes] == [0, 0]


def test_a_short_soak_loses_nothing(tmp_path):
  done = subprocess.run(
      [
          sys.executable, "launch/soak.py", "--steps=20", "--faults=3", f"--workdir={tmp_path}/soak",
          "--kind=worker killed", "--kind=SIGTERM", "--kind=kill -9",
      ],
      cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
  )  # fmt: skip
  assert done.returncode == 0, done.stdout + done.stderr
  assert "1 x kill -9" in done.stdout
  assert "the same" in done.stdout.splitlines()[-1]
