"""Faults to inject into a run, its workers or its files, as machines cause them."""

from collections.abc import Callable
import contextlib
import pathlib
import signal
import subprocess
import time

import numpy as np
import psutil

_WAIT_S = 3600.0
_TICK_S = 0.02


def kill(run: subprocess.Popen, workdir: pathlib.Path, rng: np.random.Generator) -> None:
  """Kills the run."""
  run.kill()
  run.wait()


def kill_in_save(run: subprocess.Popen, workdir: pathlib.Path, rng: np.random.Generator) -> None:
  """Kills the run while it writes a checkpoint, or once it has ended."""
  saving = lambda: any("tmp" in path.name for path in (workdir / "checkpoints").iterdir())
  wait_until(lambda: saving() or run.poll() is not None, 0.001)
  kill(run, workdir, rng)


def preempt(run: subprocess.Popen, workdir: pathlib.Path, rng: np.random.Generator) -> None:
  """Sends SIGTERM: the run saves and stops, or stops at once while it still starts."""
  run.terminate()
  wait_until(lambda: run.poll() is not None)
  if run.returncode not in (0, -signal.SIGTERM):
    raise RuntimeError(f"a run that was asked to stop ended with exit code {run.returncode}")


def damage(run: subprocess.Popen, workdir: pathlib.Path, rng: np.random.Generator) -> None:
  """Kills the run, and truncates a file of its newest checkpoint if there is an older one."""
  kill(run, workdir, rng)
  saved = sorted(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit())
  if len(saved) > 1:
    state = workdir / "checkpoints" / str(saved[-1]) / "state"
    files = [path for path in sorted(state.rglob("*")) if path.is_file() and path.stat().st_size]
    file = files[rng.integers(len(files))]
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def kill_worker(run: subprocess.Popen, workdir: pathlib.Path, rng: np.random.Generator) -> None:
  """Kills one of its workers."""
  _signal_worker(run, rng, signal.SIGKILL)


def stop_worker(run: subprocess.Popen, workdir: pathlib.Path, rng: np.random.Generator) -> None:
  """Suspends one of its workers."""
  _signal_worker(run, rng, signal.SIGSTOP)


Fault = Callable[[subprocess.Popen, pathlib.Path, np.random.Generator], None]

KINDS: dict[str, Fault] = {
  "kill -9": kill,
  "kill -9 while saving": kill_in_save,
  "SIGTERM": preempt,
  "newest checkpoint cut short": damage,
  "worker killed": kill_worker,
  "worker hangs": stop_worker,
}


def wait_until(happened: Callable[[], bool], tick_s: float = _TICK_S) -> None:
  """Waits for a condition; raises TimeoutError after an hour."""
  deadline = time.monotonic() + _WAIT_S
  while not happened():
    if time.monotonic() > deadline:
      raise TimeoutError(f"the expected event did not happen within {_WAIT_S:g} seconds")
    time.sleep(tick_s)


def _signal_worker(run: subprocess.Popen, rng: np.random.Generator, number: int) -> None:
  with contextlib.suppress(psutil.NoSuchProcess):
    workers = sorted(psutil.Process(run.pid).children(), key=lambda process: process.pid)
    workers = [w for w in workers if "empg_jax.workers.child" in w.cmdline()]
    if workers:
      workers[rng.integers(len(workers))].send_signal(number)
