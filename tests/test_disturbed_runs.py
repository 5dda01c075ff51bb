"""Runs that are killed, preempted or damaged end like an undisturbed run, bit for bit."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from empg_jax.io import paths
from empg_jax.soak import compare, faults, runs
from empg_jax.tracking import episode_files, metrics

pytestmark = pytest.mark.slow
ROOT = pathlib.Path(__file__).resolve().parents[1]
STEPS = 10


@pytest.fixture(scope="module")
def home(tmp_path_factory):
  """A folder with a model and an undisturbed run."""
  home = tmp_path_factory.mktemp("runs")
  runs.write_model(home / "model")
  code = start(home, "straight").wait()
  assert code == 0, said(home, "straight")
  return home


def start(home, name):
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


def test_a_resume_that_is_not_exact_is_detected(home):
  other = shutil.copytree(home / "straight", home / "other")
  rows = [json.loads(line) for line in (other / "metrics.jsonl").read_text().splitlines()]
  rows[3]["update/grad_norm"] += 1e-9
  (other / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  assert compare.rows(home / "straight", other) == [3]
  shutil.rmtree(other / "checkpoints" / str(STEPS))  # so that the newest has other parameters
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
    file.write(f'{{"step": {STEPS}, "train/succ')  # as after a power failure
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


# Nobody waits 20 s here until a killed run's lock in a bucket is free.
SOONER = """
import runpy, sys
from empg_jax.workdir import lock
lock._BEAT_S, lock._SILENCE_S = 0.2, 1.0
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_killed_in_a_bucket_it_goes_on_exactly_and_is_evaluated_exported_and_drawn(
  home, bucket, monkeypatch
):
  where, log = paths.of(f"{bucket}/run"), home / "bucket.log"
  monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", f"{where}/compiled")
  with paths.filled(f"{bucket}/model") as draft:
    shutil.copytree(home / "model", draft, dirs_exist_ok=True)
  python, *command = runs.command(where, paths.of(f"{bucket}/model"), STEPS, workers__count=0)
  command.remove("--notensorboard")
  half_written = lambda: not (where / "checkpoints" / "6" / "commit_success.txt").exists()
  saving = lambda: len(metrics.read_rows(where)) > 6 and half_written()
  run = runs.start([python, "-c", SOONER, *command], log)
  faults.wait_until(lambda: saving() or run.poll() is not None)
  faults.kill(run, home, np.random.default_rng(0))
  again = runs.start([python, "-c", SOONER, *command], log)
  assert again.wait() == 0, log.read_text()
  assert "was left by process" in log.read_text() and "from the checkpoint of" in log.read_text()
  for differ in (compare.rows, compare.states, compare.played):
    assert differ(home / "straight", where) == []
  assert any("jit_train_step" in str(path) for path in paths.entries(where / "compiled"))
  assert paths.entries(where / "tensorboard") and not (where / "lock").exists()
  launched("evaluate", f"--workdir={where}", "--episodes=2", f"--json={bucket}/found.json")
  assert len(json.loads(paths.of(f"{bucket}/found.json").read_text())["episodes"]) == 2
  launched("export", f"--checkpoint={where}", f"--out={bucket}/exported")
  launched("pages", f"--workdir={where}")
  launched("plot", f"--workdir={where}", f"--out={bucket}/plots", "--episodes=0")
  for file in ("exported/model.safetensors", "run/episodes.html", "plots/learning_curves.svg"):
    assert paths.size(f"{bucket}/{file}") > 10_000, file


def launched(script, *flags):
  command = [sys.executable, f"launch/{script}.py", *flags]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr


STOPPED = """
import contextlib, pathlib, runpy, sys
from empg_jax.distributed import preemption
script, evaluated = sys.argv[1], pathlib.Path(sys.argv.pop())
sys.argv = sys.argv[1:]
preemption.listening = lambda: contextlib.nullcontext(evaluated.exists)
runpy.run_path(script, run_name="__main__")
"""


def test_preempted_in_an_evaluation_it_has_written_the_steps_episodes(home):
  python, *command = runs.command(home / "evaluating", home / "model", STEPS, workers__count=0)
  evaluated = home / "evaluating" / "episodes" / "step_000005.valid_seen.jsonl.gz"
  run = runs.start([python, "-c", STOPPED, *command, str(evaluated)], home / "evaluating.log")
  assert run.wait() == 0 and "stopped after step 5" in said(home, "evaluating")
  played = episode_files.read(evaluated.with_name("step_000005.train.jsonl.gz"))
  assert played == episode_files.read(home / "straight" / "episodes" / "step_000005.train.jsonl.gz")


def test_without_the_metrics_of_its_checkpoint_a_run_does_not_go_on(home):
  shutil.copytree(home / "straight", home / "emptied")
  (home / "emptied" / "metrics.jsonl").write_text("")
  assert start(home, "emptied").wait() == 1
  assert said(home, "emptied").splitlines()[-1].startswith("error: ")
  assert f"metrics.jsonl has no row of step {STEPS}" in said(home, "emptied")


def workers_of(run):
  """The processes of a run's environments."""
  with contextlib.suppress(psutil.Error):
    children = psutil.Process(run.pid).children()
    return [child for child in children if "empg_jax.workers.child" in child.cmdline()]
  return []


def ended(process):
  """Whether a process has ended; it may be a zombie."""
  try:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
  except psutil.NoSuchProcess:
    return True


@pytest.mark.parametrize("how", ["at its end", "by an error", "SIGTERM", "Ctrl-C twice", "kill -9"])
def test_no_process_outlives_a_run_that_ends(home, how, request):
  name, log = f"ended {how}", home / f"ended {how}.log"
  if how == "by an error":
    (home / name).mkdir()
    (home / name / "episodes").write_text("no folder")
  length = 1 if how == "at its end" else 1000
  command = runs.command(home / name, home / "model", length, workers__timeout_s=3600.0)
  run = runs.start(command, log)
  request.addfinalizer(run.kill)
  workers = []

  def played():
    """Whether the workers have made their environments, or the run has ended."""
    workers[:] = workers_of(run) or workers
    return steps(home, name) or run.poll() is not None

  faults.wait_until(played)
  assert len(workers) == 2, log.read_text()
  if how in ("Ctrl-C twice", "kill -9"):
    workers[0].suspend()  # so that the run waits for a turn that never ends
  if how == "SIGTERM":
    run.terminate()
  elif how == "Ctrl-C twice":
    run.send_signal(signal.SIGINT)
    faults.wait_until(lambda: "asked to stop (SIGINT)" in log.read_text())
    run.send_signal(signal.SIGINT)
  elif how == "kill -9":
    run.kill()
  codes = {"by an error": 1, "Ctrl-C twice": 130, "kill -9": -signal.SIGKILL}
  assert run.wait() == codes.get(how, 0), log.read_text()
  deadline = time.monotonic() + 60
  while not all(map(ended, workers)):
    assert time.monotonic() < deadline, f"{workers} outlived the run"
    time.sleep(0.05)


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
