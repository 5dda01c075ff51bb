"""launch/train.py as a user runs it: it trains, resumes after a kill, and reports mistakes."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from empg_jax.checkpoint import read_part
from empg_jax.models.value_head import ValueHead
from empg_jax.tracking import episode_files
from empg_jax.training import replay
from empg_jax.types import Batch

pytestmark = pytest.mark.slow
ROOT = pathlib.Path(__file__).resolve().parents[1]
SMALL = {
  "num_steps": 4,
  "rollout.tasks": 2,
  "rollout.group_size": 4,
  "rollout.max_turns": 4,
  "policy.slots": 4,
  "policy.max_length": 256,
  "policy.windows": "(256,)",
  "policy.piece_lengths": "(48,)",
  "pack.lengths": "(256,)",
  "train.lengths": "(128,)",
  "evaluation.tasks": 2,
  "evaluation.every": 4,
  "checkpoint.every": 1,
}


def command(workdir, preset="tiny", **changes):
  settings = {**SMALL, **{key.replace("__", "."): value for key, value in changes.items()}}
  return [
    sys.executable, str(ROOT / "launch" / "train.py"), f"--config=configs/alfworld.py:{preset}",
    f"--workdir={workdir}", *(f"--config.{key}={value}" for key, value in settings.items()),
  ]  # fmt: skip


def start(arguments):
  environment = {**os.environ, "PYTHONPATH": str(ROOT)}
  environment.pop("JAX_NUM_CPU_DEVICES", None)
  return subprocess.Popen(
    arguments, cwd=ROOT, env=environment, text=True,
    stdout=subprocess.PIPE, stderr=subprocess.PIPE,
  )  # fmt: skip


def run(arguments):
  process = start(arguments)
  out, err = process.communicate(timeout=600)
  return process.returncode, out, err


def rows(workdir):
  return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """A run that was killed after a checkpoint, and its continuation."""
  workdir = tmp_path_factory.mktemp("run") / "a [b]\\c"  # as a glob pattern, another folder
  killed = start(command(workdir))
  deadline = time.monotonic() + 500
  while not (workdir / "checkpoints" / "2").is_dir():
    assert killed.poll() is None and time.monotonic() < deadline, killed.communicate()
    time.sleep(0.05)
  killed.send_signal(signal.SIGKILL)
  killed.communicate()
  before = rows(workdir)
  code, out, err = run(command(workdir))
  return workdir, before, code, out, err


def test_a_killed_run_goes_on_from_its_newest_checkpoint_whatever_its_workdir_is_called(finished):
  workdir, before, code, out, err = finished
  assert code == 0, err
  assert "going on from the checkpoint of step" in out
  after = rows(workdir)
  assert [row["step"] for row in after] == [0, 1, 2, 3, 4]
  assert after[:2] == before[:2]


def test_its_checkpoints_are_played_and_evaluated(finished):
  flags = (f"--workdir={finished[0]}", "--step=best", "--episodes=1", "--temperature=0")
  for script, said in (("play", r"after \d turns"), ("evaluate", "checkpoints/4 at tempera")):
    code, out, err = run([sys.executable, str(ROOT / "launch" / f"{script}.py"), *flags])
    assert code == 0 and re.search(said, out), out + err


def test_metrics_have_their_stable_names(finished):
  workdir = finished[0]
  first, *steps = rows(workdir)
  for row in steps:
    for name in (
      "train/success", "train/return", "train/turns", "empg/entropy_min", "empg/entropy_mean",
      "empg/entropy_max", "empg/g_min", "empg/g_max", "empg/g_mean", "loss/policy",
      "loss/clip_fraction", "update/grad_norm", "time/rollout_s", "time/update_s",
      "time/tokens_per_s", "compile/count",
    ):  # fmt: skip
      assert isinstance(row[name], (int, float)), name
  for row in (first, steps[-1]):
    assert 0 <= row["eval/valid_seen/success"] <= 1
    assert 0 <= row["eval/valid_unseen/success"] <= 1
    assert row["eval/valid_seen/score"] == row["eval/valid_seen/success"]  # ALFWorld's own score


def test_each_program_is_compiled_once(finished):
  last = rows(finished[0])[-1]
  assert last["compile/count"] == 5  # the update, and on either device what reads and what writes


def test_the_console_opens_with_the_method_and_ends_with_a_table_and_the_gain(finished):
  lines = finished[3].splitlines()
  assert lines[0].startswith("empg_jax ") and "empg over grpo, k=1, zeta=0.05" in lines[0]
  assert any(line.startswith("task type") for line in lines)
  assert lines[-4].startswith("all")
  assert re.fullmatch(r"valid_seen .*% -> .*%, valid_unseen .*% -> .*%", lines[-3])
  assert "launch/pages.py --workdir=" in lines[-2] and "launch/plot.py --workdir=" in lines[-1]


def test_the_workdir_holds_config_and_checkpoints(finished):
  workdir = finished[0]
  assert json.loads((workdir / "config.json").read_text())["num_steps"] == 4
  assert (workdir / "checkpoints" / "4").is_dir()


def test_episodes_are_written(finished):
  workdir = finished[0]
  sets = [episode_files.read(path) for path in episode_files.files(workdir)]
  assert [(played.step, played.split) for played in sets] == [
    (0, "valid_seen"), (0, "valid_unseen"), (1, "train"), (2, "train"), (3, "train"),
    (4, "train"), (4, "valid_seen"), (4, "valid_unseen"),
  ]  # fmt: skip
  last, row = sets[5].episodes, rows(workdir)[4]
  assert len(last) == row["train/episodes"] == 8
  assert np.mean([e["reward"] for e in last]) == pytest.approx(row["train/return"])
  for name in ("entropy", "g", "advantage"):
    values = [turn["values"][name] for e in last for turn in e["turns"]]
    assert max(values) == pytest.approx(row[f"empg/{name}_max"], rel=1e-4, abs=1e-6), name
    assert np.mean(values) == pytest.approx(row[f"empg/{name}_mean"], rel=1e-4, abs=1e-6), name


def test_a_kept_batch_can_be_replayed(finished, tmp_path):
  rng = np.random.default_rng(0)
  steps = np.zeros((8, 256), np.int32)
  steps[:, 50:60] = 1
  floats = np.where(steps > 0, -rng.random(steps.shape), 0).astype(np.float32)
  batch = Batch(
    tokens=rng.integers(3, 800, steps.shape).astype(np.int32),
    actions=rng.integers(3, 800, steps.shape).astype(np.int32),
    steps=steps, behavior_logprobs=np.where(floats < -0.9, np.nan, floats).astype(np.float32),
    behavior_entropy=-floats, rewards=floats, anchors=steps,
    returns=np.arange(8, dtype=np.float32), group_ids=np.repeat(np.int32([0, 1]), 4),
    episode_ids=np.arange(8, dtype=np.int32),
  )  # fmt: skip
  replay.save(batch, tmp_path / "step_3.npz")
  before = (finished[0] / "metrics.jsonl").read_text()
  code, out, err = run([*command(finished[0]), f"--replay={tmp_path / 'step_3.npz'}"])
  assert code == 0, err
  printed = dict(line.split() for line in out.splitlines() if line.startswith(("update/", "loss/")))
  assert printed["update/skipped"] == "1" and printed["loss/total"] == "nan"
  assert (finished[0] / "metrics.jsonl").read_text() == before


def test_ppo_trains_a_value_head_and_a_checkpoint_keeps_it(tmp_path):
  # A high temperature makes replies invalid, which costs reward: returns vary.
  settings = dict(
    num_steps=1, evaluation__tasks=1, optimizer__warmup_steps=0, policy__temperature=3.0,
    rollout__invalid_penalty=0.1,
  )  # fmt: skip
  code, _, err = run(command(tmp_path, "tiny-ppo-empg", **settings))
  assert code == 0, err
  row = rows(tmp_path)[-1]
  for name in ("loss/value", "loss/value_clip_fraction", "value/explained_variance"):
    assert isinstance(row[name], (int, float)), name
  assert row["value/mean"] == 0  # the head predicts 0 before the first update
  head = {"value_head": ValueHead(128)}
  head = read_part(tmp_path / "checkpoints" / "1", head)["value_head"]
  assert np.all(np.isfinite(head.weight[...])) and np.any(head.weight[...] != 0)


def test_another_config_does_not_touch_the_run(finished):
  code, _, err = run(command(finished[0], algorithm__zeta=0.5))
  assert code == 1
  assert "config.algorithm.zeta is 0.05 there and 0.5 now (steering). Add --amend" in err


@pytest.mark.parametrize(
  "changes, sentence",
  [
    (dict(tasks__games="official"), "ALFWORLD_DATA"),
    (dict(tasks__games="big"), "'big'"),
    (dict(evaluation__splits="('test',)"), "config.evaluation.splits names 'test': split must"),
    (dict(train__size=3), "does not divide into 1 minibatch of microbatches of 3"),
    (dict(mesh__data=2, train__size=1), "does not divide over 2 devices"),
    (dict(mesh__data=64, train__size=64, rollout__tasks=64), "but JAX finds 2 devices: choose"),
    (dict(policy__max_length=512), "the longest of config.pack.lengths 256"),
    (dict(algorithm__name="grop"), "grpo"),
    (dict(model__path="nowhere"), "There is no model in nowhere"),
  ],
  ids=str,
)
def test_bad_input_is_reported_in_one_line_and_claims_no_workdir(
  changes, sentence, tmp_path, monkeypatch
):
  monkeypatch.delenv("ALFWORLD_DATA", raising=False)
  code, _, err = run(command(tmp_path / "run", **changes))
  assert code == 1
  assert err.startswith("error: ") and len(err.strip().splitlines()) == 1
  assert sentence in err
  assert not (tmp_path / "run").exists()
