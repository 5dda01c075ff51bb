"""The README's environment in one file is played and trained on unchanged."""

import json
import os
import subprocess
import sys

import pytest
import readmes

from empg_jax import envs

ROOT = readmes.ROOT
README = "empg_jax/envs/README.md"
SMALL = {
  "num_steps": 1,
  "rollout.tasks": 2,
  "rollout.group_size": 2,
  "rollout.max_turns": 2,
  "policy.slots": 4,
  "policy.max_length": 256,
  "policy.windows": "(256,)",
  "policy.piece_lengths": "(96,)",
  "pack.lengths": "(256,)",
  "train.lengths": "(256,)",
  "evaluation.tasks": 2,
  "evaluation.every": 1,
  "workers.count": 1,  # workers find the file too
}


@pytest.fixture
def folder(tmp_path):
  """A user's folder with the file in it."""
  file = tmp_path / "my_lab" / "guess_number.py"
  file.parent.mkdir()
  file.write_text(
    next(block for block in readmes.blocks(README, "python") if "GuessNumber" in block)
  )
  return tmp_path


def test_it_is_short(folder):
  lines = (folder / "my_lab" / "guess_number.py").read_text().splitlines()
  assert len([line for line in lines if line.strip()]) <= 40


def test_it_is_an_environment_that_can_be_won(folder, monkeypatch):
  monkeypatch.syspath_prepend(str(folder))
  environment = envs.find("my_lab.guess_number")
  for task in environment.tasks("train"):
    env, guess = environment.make(), 5
    assert isinstance(env, envs.Env)
    env.reset(task)
    assert not env.step("look").done
    for _ in range(9):
      observation, reward, done, info = env.step(f"go to drawer {guess}")
      assert info[environment.SCORE] == done == bool(reward)
      guess += {"It is lower.": -1, "It is higher.": 1}.get(observation, 0)
    assert done and guess == int(task)
    env.close()
  del sys.modules["my_lab.guess_number"]


@pytest.mark.slow
def test_it_trains_by_the_command_beside_it(folder):
  line = next(
    line for line in readmes.TEXTS[README].splitlines() if "--config=my_lab/guess_number.py" in line
  )
  script, *arguments = line.removeprefix(".venv/bin/python ").split()
  done = subprocess.run(
    [sys.executable, ROOT / script, *arguments, *(f"--config.{k}={v}" for k, v in SMALL.items())],
    cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)},
    capture_output=True, text=True, timeout=900,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  rows = (folder / "runs" / "my_lab.guess_number" / "metrics.jsonl").read_text().splitlines()
  first, last = map(json.loads, (rows[0], rows[-1]))
  assert "eval/valid/success" in first and "eval/valid/success" in last
  assert last["step"] == 1 and last["loss/total"] == last["loss/total"]
