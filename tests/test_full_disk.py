"""On a full disk a run raises a one-line error, and earlier files stay intact."""

import logging
import pathlib
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from empg_jax.checkpoint import Checkpointer, orbax_logs
from empg_jax.cli import command_line
from empg_jax.tracking import episode_files, metrics


@pytest.fixture
def disk(tmp_path):
  """A separate disk of one mebibyte."""
  made = subprocess.run(
    ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], capture_output=True
  )
  if made.returncode:
    pytest.skip("no right to mount a small disk")
  yield tmp_path
  subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def fill(disk):
  with pytest.raises(OSError), (disk / "rest").open("wb", buffering=0) as file:
    while True:
      file.write(bytes(4096))


def test_a_full_disk_does_not_harm_earlier_checkpoints(disk):
  orbax_logs.silence()  # pytest would count a message to a closed loop as a failure
  checkpoints = Checkpointer(disk / "checkpoints", keep=1)
  checkpoints.save(1, {"w": jnp.arange(10.0)})
  checkpoints.wait()
  big = np.random.default_rng(0).integers(0, 2**31, 10**6)
  with pytest.raises(
    OSError, match="written to .* .No space left on device.: the earlier .* untouched"
  ):
    checkpoints.save(2, {"w": jnp.asarray(big)})
    checkpoints.close()
  again = Checkpointer(disk / "checkpoints", keep=1)
  assert again.restore({"w": jnp.zeros(10)}).step == 1
  again.close()


def test_a_full_disk_is_reported_for_metrics_and_episodes(disk):
  writer = metrics.MetricsWriter(disk)
  writer.write(0, {"loss": 1.0})
  writer.flush()
  fill(disk)
  with pytest.raises(OSError, match="metrics.jsonl cannot be written .No space left") as error:
    for step in range(1, 1000):
      writer.write(step, {"loss": 1.0})
  assert command_line.is_for_the_user(error.value)
  rows = metrics.read_rows(disk)
  assert [row["step"] for row in rows] == list(range(len(rows))) and rows
  with pytest.raises(OSError, match="step_000007.train.jsonl.gz cannot be written .No space left"):
    episode_files.write(disk, 7, "train", [], text=str, task_type=str)
  assert not list(disk.glob("episodes/*"))


SAVES = """
import sys
import numpy as np
import jax.numpy as jnp
from empg_jax.cli import command_line
from empg_jax.checkpoint import Checkpointer, orbax_logs
def main(_):
  orbax_logs.silence()
  checkpoints = Checkpointer(sys.argv[0], keep=1)
  big = np.random.default_rng(0).integers(0, 2**31, (20, 10**5))
  checkpoints.save(1, {str(n): jnp.asarray(x) for n, x in enumerate(big)})
  checkpoints.close()
sys.argv = [FOLDER]
command_line.run(main, needs_config=False)
"""


def test_a_full_disk_is_reported_in_one_line_for_a_save(disk):
  code = SAVES.replace("FOLDER", repr(str(disk / "checkpoints")))
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
  assert done.returncode == 1
  (line,) = done.stderr.splitlines()
  assert line.startswith("error: a checkpoint cannot be written to")


def of(path):
  """A record of asyncio for an abandoned task that `path` started and that failed."""
  try:
    exec(compile("raise ValueError('RESOURCE_EXHAUSTED')", path, "exec"), {})
  except ValueError:
    said = "Task exception was never retrieved"
    return logging.LogRecord("asyncio", logging.ERROR, __file__, 1, said, (), sys.exc_info())


def test_of_abandoned_tasks_only_those_of_saves_are_silenced():
  orbax_logs.silence()
  shows = logging.getLogger("asyncio").filter
  assert not shows(of("site-packages/orbax/checkpoint/serialization.py"))
  assert shows(of("my_environment.py"))


FULL = """
from empg_jax.cli import command_line
def main(_):
  with open("/dev/full", "w") as file:
    file.write("x")
command_line.run(main, needs_config=False)
"""


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="there is no /dev/full")
def test_every_error_of_a_full_disk_is_one_line():
  done = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True)
  assert done.returncode == 1
  assert done.stderr == "error: the disk is full: make room and start the same command again.\n"
