"""A workdir has one run at a time; after a kill the next run can take it."""

import errno
import fcntl
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from empg_jax.cli import command_line
from empg_jax.distributed import hosts
from empg_jax.workdir import lock

ROOT = pathlib.Path(__file__).resolve().parents[1]
HOLDS = """
import sys, time
from empg_jax.workdir import lock
lock.take(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def fast(monkeypatch):
  monkeypatch.setattr(lock, "_PATIENCE_S", 0.0)
  monkeypatch.setattr(lock, "_LOOK_S", 0.01)
  monkeypatch.setattr(lock, "_BEAT_S", 0.01)
  monkeypatch.setattr(lock, "_SILENCE_S", 0.3)


@pytest.fixture
def holder(tmp_path):
  """Another process that holds the workdir."""
  process = subprocess.Popen(
    [sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
  )
  assert process.stdout.readline() == "held\n"
  yield process
  process.kill()
  process.communicate()


def test_a_second_run_in_a_workdir_is_refused_unless_the_first_was_killed(tmp_path, holder):
  with pytest.raises(ValueError) as error:
    lock.take(tmp_path)
  host = os.uname().nodename
  message = rf"{tmp_path} is in use by process {holder.pid} on {host}, which began at 20"
  assert str(error.value).startswith(message)
  assert command_line.is_for_the_user(error.value)
  holder.send_signal(signal.SIGKILL)
  holder.wait()
  lock.take(tmp_path).release()


def test_a_resume_waits_for_a_run_that_is_just_ending(tmp_path, holder, monkeypatch):
  monkeypatch.setattr(lock, "_PATIENCE_S", 30.0)
  threading.Timer(0.3, holder.kill).start()
  lock.take(tmp_path).release()


def test_a_workdir_is_free_once_its_run_releases_it(tmp_path):
  first = lock.take(tmp_path / "run")
  assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700
  with pytest.raises(ValueError, match=f"in use by process {os.getpid()} on"):
    lock.take(tmp_path / "run")
  first.release()
  first.release()
  lock.take(tmp_path / "run").release()
  assert (tmp_path / "run" / lock.FILE).read_bytes() == b""


def left_by(tmp_path, **record):
  about = {"host": "elsewhere", "boot": "another", "pid": 7, "since": "2026-01-01", "count": 3}
  (tmp_path / lock.FILE).write_text(json.dumps(about | record))


def test_a_stale_lock_of_another_machine_is_taken(tmp_path, capsys):
  left_by(tmp_path)
  lock.take(tmp_path).release()
  assert "was left by process 7 on elsewhere" in capsys.readouterr().err


def test_without_flock_a_counter_shows_that_another_machines_run_is_alive(tmp_path, monkeypatch):
  def no_locks(descriptor, how):
    raise OSError(errno.ENOLCK, "No locks available")

  monkeypatch.setattr(fcntl, "flock", no_locks)
  monkeypatch.setattr(lock, "_machine", lambda: {"host": "a", "boot": "1"})
  first = lock.take(tmp_path)
  monkeypatch.setattr(lock, "_machine", lambda: {"host": "b", "boot": "2"})
  with pytest.raises(ValueError, match=f"in use by process {os.getpid()} on a, which"):
    lock.take(tmp_path)
  first.release()
  lock.take(tmp_path).release()


def test_launch_train_refuses_a_workdir_that_is_in_use(tmp_path):
  held = lock.take(tmp_path)
  done = subprocess.run(
    [sys.executable, "launch/train.py", "--config=configs/alfworld.py", f"--workdir={tmp_path}"],
    cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
  )  # fmt: skip
  held.release()
  assert done.returncode == 1
  assert done.stderr.startswith(f"error: {tmp_path} is in use by process {os.getpid()} on")
  assert {path.name for path in tmp_path.iterdir()} == {lock.FILE}


LOSES = HOLDS.replace("lock.take", "lock._BEAT_S = 0.05; lock.take")


def test_a_run_that_lost_its_workdir_ends(tmp_path):
  process = subprocess.Popen(
    [sys.executable, "-c", LOSES, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    text=True, cwd=ROOT,
  )  # fmt: skip
  assert process.stdout.readline() == "held\n"
  left_by(tmp_path)
  _, message = process.communicate(timeout=60)
  assert process.returncode == 1
  assert message.startswith(f"error: {tmp_path} is in use by process 7 on elsewhere")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\0" * 9, "[" * 100_000], ids=range(6))
def test_a_damaged_lock_is_taken(tmp_path, content):
  (tmp_path / lock.FILE).write_text(content)
  lock.take(tmp_path).release()


def test_a_workdir_that_cannot_be_created_is_refused(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(ValueError, match="the workdir .*file/run cannot be used: Not a directory"):
    lock.take(tmp_path / "file" / "run")


@pytest.mark.parametrize("number", [0, 1])
def test_only_the_first_process_of_a_run_holds_its_workdir(tmp_path, monkeypatch, number):
  monkeypatch.setattr(hosts, "is_first", lambda: number == 0)
  held = lock.take(tmp_path)
  assert (held is not None) == (number == 0) == (tmp_path / lock.FILE).exists()
  # If the first is refused, so are all.
  monkeypatch.setattr(hosts, "gather", lambda values: np.asarray([[1], [0]]))
  with pytest.raises(ValueError, match="in use by|first process of the run cannot use"):
    lock.take(tmp_path)
  if held:
    held.release()
