"""launch/play.py prints an episode of the config's model."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]


ALFWORLD = "--config=configs/alfworld.py"


def play(*arguments, typed=""):
  return subprocess.run(
    [sys.executable, str(ROOT / "launch" / "play.py"), *arguments],
    cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    input=typed, timeout=600,
  )  # fmt: skip


@pytest.mark.slow
def test_it_prints_every_turn_with_its_entropy():
  done = play(ALFWORLD, "--episodes=2", "--split=valid_unseen", "--temperature=0",
              "--config.rollout.max_turns=3")  # fmt: skip
  assert done.returncode == 0, done.stderr
  heads = re.findall(r"^=== (small/valid_unseen/\S+)$", done.stdout, re.MULTILINE)
  assert len(set(heads)) == 2
  assert "--- turn 1\n-= Welcome to TextWorld, ALFRED! =-" in done.stdout
  assert re.search(r"^> <think>.*</action>$", done.stdout, re.MULTILINE)
  assert 2 <= len(re.findall(r"  H \d\.\d{3}  Hn [01]\.\d\d  g \d\.\d\d  ", done.stdout)) <= 6
  assert len(re.findall(r"^=== .* after \d turns", done.stdout, re.MULTILINE)) == 2


def test_a_human_plays_by_typing():
  done = play("--env=alfworld", "--agent=human", "--config.env.show_commands=True", typed="look\n")
  assert done.returncode == 0, done.stderr
  assert "Commands: " in done.stdout and "--- turn 2" in done.stdout
  assert done.stdout.count("--- turn") == 2
  assert "=== given up after 1 turn " in done.stdout


def test_a_mistake_is_one_sentence():
  done = play(ALFWORLD, "--split=valid")
  assert done.returncode == 1 and "must be one of train, valid_seen" in done.stderr
  done = play(ALFWORLD, "--config.model.path=nowhere")
  assert done.returncode == 1 and done.stderr.startswith("error: There is no model in nowhere")
  done = play("--episodes=1")
  assert done.returncode == 1 and "give either --workdir=FOLDER of a run or --con" in done.stderr
  done = play("--env=alfword")
  assert done.returncode == 1 and "there is not a config file 'alfword'" in done.stderr
