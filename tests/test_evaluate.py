"""launch/evaluate.py plays an agent, writes its results, and compares result files."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from empg_jax.checkpoint import trained
from empg_jax.tracking import episode_files

ROOT = pathlib.Path(__file__).resolve().parents[1]


def evaluate(*arguments):
  return subprocess.run(
    [sys.executable, str(ROOT / "launch" / "evaluate.py"), *map(str, arguments)],
    cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    timeout=600,
  )  # fmt: skip


@pytest.mark.slow
def test_a_policy_is_evaluated_and_compared_with_the_expert(tmp_path):
  policy, expert = tmp_path / "policy.json", tmp_path / "expert.json"
  shared = (
    "--config=configs/alfworld.py", "--config.rollout.max_turns=3", "--episodes=6",
    "--config.policy.max_length=256", "--config.policy.piece_lengths=(48,)",
    "--config.workers.count=2",
  )  # fmt: skip
  done = evaluate(*shared, "--model=alfworld-tiny", "--temperature=1", "--seeds=2",
                  f"--json={policy}", f"--keep={tmp_path}")  # fmt: skip
  assert done.returncode == 0, done.stderr
  lines = done.stdout.splitlines()
  assert lines[0].endswith("alfworld-tiny at temperature 1 on alfworld, valid_seen: 2 x 6 episodes")
  assert lines[-3].split()[:3] == ["all", "6", "12"]
  assert lines[-1] == str(tmp_path / "episodes" / "step_000000.valid_seen.jsonl.gz")
  written = json.loads(policy.read_text())
  assert len({(e["task"], e["seed"]) for e in written["episodes"]}) == 12
  assert len({e["type"] for e in written["episodes"]}) == 6
  assert all(e["entropy"] > 0 and e["turns"] <= 3 for e in written["episodes"])
  assert written["summary"]["all"]["turns"]["mean"] == pytest.approx(
    sum(e["turns"] for e in written["episodes"]) / 12
  )
  (kept,) = map(episode_files.read, episode_files.files(tmp_path))
  assert {(e["group"], e["index"]) for e in kept.episodes} == {
    (task, seed) for task in range(6) for seed in range(2)
  }
  assert [e["success"] for e in kept.episodes] == [e["success"] for e in written["episodes"]]
  whole = "".join(kept.episodes[0]["turns"][0]["tokens"])
  assert whole.startswith("<think>") and whole.endswith("</action>")
  done = evaluate(*shared, "--agent=expert", f"--json={expert}", f"--keep={tmp_path / 'expert'}")
  assert done.returncode == 0, done.stderr
  (kept,) = map(episode_files.read, episode_files.files(tmp_path / "expert"))
  assert len(kept.episodes) == 6 and kept.episodes[0]["turns"][0]["values"] == {}
  done = evaluate("--compare", policy, expert)
  assert done.returncode == 0, done.stderr
  assert "alfworld-tiny at temperature 1, alfworld valid_seen" in done.stdout
  assert any(line.startswith("success") for line in done.stdout.splitlines())


def test_a_mistake_is_one_sentence(tmp_path):
  done = evaluate("--episodes=2")
  assert done.returncode == 1 and "give either --workdir=FOLDER of a run or --config" in done.stderr
  done = evaluate(f"--workdir={tmp_path}")
  assert done.returncode == 1 and "There is no checkpoint in" in done.stderr


def test_a_step_without_a_checkpoint_is_refused_and_the_others_are_named(tmp_path):
  for step in ("40", "50"):
    (tmp_path / "checkpoints" / step).mkdir(parents=True)
  assert trained.find(tmp_path) == (tmp_path, 50)
  assert trained.find(tmp_path, 40) == (tmp_path, 40)
  with pytest.raises(FileNotFoundError, match="no checkpoint of step 20 .*: there are 40, 50"):
    trained.find(tmp_path, 20)
