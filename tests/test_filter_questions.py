"""launch/filter_questions.py keeps the questions that a policy can learn from."""

import os
import pathlib
import subprocess
import sys

import jax
import pytest

from empg_jax.data import vocabulary
from empg_jax.envs import deep_search
from empg_jax.envs.deep_search import data, filtering, question_files
from empg_jax.models import folder
from empg_jax.models.decoder import Decoder, DecoderConfig

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
  ("directly", "searching", "found"),
  [(0, 0, "kept"), (0, 3, "kept"), (0, 4, "always answered"), (1, 0, "answered without a search")],
)
def test_a_question_is_kept_unless_it_is_known_or_easy(directly, searching, found):
  assert filtering.verdict(directly, searching, plays=4) == found


def test_questions_are_read_back_from_their_lines(tmp_path):
  questions = [data.question(task) for task in deep_search.tasks("train")[:5]]
  file = tmp_path / "kept.jsonl"
  file.write_text("".join(map(filtering.line, questions)))
  assert [q[:3] for q in question_files.read(file)] == [q[:3] for q in questions]


def run(*arguments):
  return subprocess.run(
    [
      sys.executable, str(ROOT / "launch" / "filter_questions.py"),
      "--config=configs/deep_search.py", *arguments,
    ],
    cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    timeout=600,
  )  # fmt: skip


def test_a_path_that_cannot_be_written_is_refused_before_anything_is_played(tmp_path):
  done = run(f"--out={tmp_path}")
  assert done.stderr == f"error: --out={tmp_path} is a folder: name a file.\n"


@pytest.mark.slow
def test_a_policy_that_answers_nothing_keeps_every_question(tmp_path):
  texts = [f"Question: {data.question(task).text}" for task in deep_search.tasks("train")[:200]]
  (tmp_path / "tokenizer.model").write_bytes(vocabulary.train(texts, 600, deep_search.PHRASES))
  folder.save(Decoder(DecoderConfig(600, 16, 24, 1, 1, 1, 16), jax.random.key(0)), tmp_path)
  out = tmp_path / "a" / "new" / "folder" / "kept.jsonl"
  done = run(
    f"--out={out}", "--plays=1", "--direct=1", "--questions=3",
    f"--config.model.path={tmp_path}", "--config.rollout.max_turns=2",
    "--config.policy.slots=2", "--config.policy.max_reply=8", "--config.workers.count=1",
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert "3 kept, 0 answered without a search, 0 always answered" in done.stdout
  assert len(list(question_files.read(out))) == 3
