"""TensorBoard and Weights & Biases show the rows of metrics.jsonl, and samples of the episodes."""

import json
import os
import pathlib
import struct
import subprocess
import sys
import types

import pytest
from tensorboardX.proto import event_pb2

from empg_jax.tracking import episode_files, metrics, trackers
from empg_jax.tracking.samples import Sample
from empg_jax.types import Episode


def shown_in(folder):
  """What TensorBoard shows: {name: {step: number or text}}, purged steps left out."""
  shown = {}
  for file in sorted(folder.iterdir(), key=lambda f: f.stat().st_mtime_ns):
    data = file.read_bytes()
    while data:
      (length,) = struct.unpack("<Q", data[:8])
      event = event_pb2.Event.FromString(data[12 : 12 + length])
      data = data[16 + length :]
      if event.session_log.status == 1:
        for values in shown.values():
          for step in [s for s in values if s >= event.step]:
            del values[step]
      for value in event.summary.value:
        text = value.tensor.string_val
        number = value.simple_value
        shown.setdefault(value.tag, {})[event.step] = text[0].decode() if text else number
  return shown


def run(workdir, steps, first=0, kept=(), **where):
  settings = dict(tensorboard=True, wandb=None) | where
  with (
    trackers.watchers(workdir, {"seed": 1}, first, **settings) as watchers,
    metrics.MetricsWriter(workdir, first, watchers=watchers) as writer,
  ):
    for step in steps:
      if step in kept:
        played = [Episode("heat/<b>", 0, 0, (), 0.5, True, "done", {})]
        episode_files.write(workdir, step, "train", played, text=str, task_type=lambda _: "heat")
      writer.write(step, {"train/success": step / 8, "train/entropy": float("nan")})


def test_tensorboard_shows_the_rows_and_a_run_that_goes_on_shows_its_own(tmp_path):
  run(tmp_path, range(5))
  run(tmp_path, range(3, 6), first=3)
  rows = {row["step"]: row["train/success"] for row in metrics.read_rows(tmp_path)}
  assert list(rows) == [0, 1, 2, 3, 4, 5]
  shown = shown_in(tmp_path / "tensorboard")
  assert shown == {"train/success": rows}  # numbers that are not finite are not drawn


COLUMNS = list(Sample._fields)
ROW = ["heat/<b>", "heat", "won", 0.5, 0, None, ""]


def test_tensorboard_shows_a_table_of_episodes_for_the_steps_that_wrote_some(tmp_path):
  run(tmp_path, range(3), kept=[1])
  shown = shown_in(tmp_path / "tensorboard")
  name, texts = next((name, texts) for name, texts in shown.items() if "episodes" in name)
  assert name.startswith("episodes/train") and texts.keys() == {1}
  heading, _, row = texts[1].splitlines()
  assert heading == f"| {' | '.join(COLUMNS)} |"
  assert row == "| heat&#47;&#60;b&#62; | heat | won | 0.5 | 0 |  |  |"


def test_what_is_not_asked_for_is_not_there(tmp_path):
  run(tmp_path, [0], tensorboard=False)
  assert sorted(file.name for file in tmp_path.iterdir()) == ["metrics.jsonl"]
  program = (
    "import sys, empg_jax.tracking.trackers; print({'wandb', 'tensorboardX'} & {*sys.modules})"
  )
  done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
  assert done.stdout.strip() == "set()", done.stderr


class FakeRun:
  """A fake of the used part of a W&B run, where the package is not installed."""

  id = "abc"

  def __init__(self):
    self.logged, self.finished = [], False

  def log(self, values, step):
    self.logged.append((step, values))

  def finish(self):
    self.finished = True


def test_wandb_is_given_the_rows_and_a_run_that_goes_on_keeps_its_id(tmp_path, monkeypatch):
  calls, runs = [], []

  def init(**arguments):
    calls.append(arguments)
    runs.append(FakeRun())
    return runs[-1]

  table = lambda columns, data: (columns, data)
  monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init, Table=table))
  run(tmp_path, [0, 1], kept=[1], tensorboard=False, wandb="empg")
  run(tmp_path, [2], first=2, tensorboard=False, wandb="empg")
  table = {"episodes/train": (COLUMNS, [ROW])}
  assert runs[0].logged == [(0, {"train/success": 0}), (1, {"train/success": 0.125} | table)]
  assert runs[1].logged == [(2, {"train/success": 0.25})] and runs[1].finished
  assert [call["id"] for call in calls] == [None, "abc"]
  assert calls[1]["allow_val_change"]  # it may go on with another config
  assert calls[0]["project"] == "empg" and calls[0]["config"] == {"seed": 1}


OFFLINE = """
import sys, pathlib
sys.path.insert(0, "tests")
import test_trackers
test_trackers.run(pathlib.Path(sys.argv[1]), [0, 1], kept=[1], tensorboard=False, wandb="empg")
"""


def test_a_real_wandb_keeps_the_table_offline(tmp_path):
  pytest.importorskip("wandb", reason="pip install '.[wandb]'")
  environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
  done = subprocess.run(
    [sys.executable, "-c", OFFLINE, str(tmp_path)],
    cwd=pathlib.Path(__file__).parents[1], env=environment, capture_output=True, text=True,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  (file,) = tmp_path.glob("wandb/offline-run-*/files/media/table/episodes/train_*.table.json")
  kept = json.loads(file.read_text())
  assert (kept["columns"], kept["data"]) == (COLUMNS, [ROW])


def test_wandb_that_is_not_installed_is_reported_in_a_sentence(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "wandb", None)
  with pytest.raises(ImportError, match="--wandb=empg needs the package wandb"):
    run(tmp_path, [0], wandb="empg")
