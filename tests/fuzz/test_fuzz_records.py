"""Damaged records of a run are read or refused with a one-line error."""

import gzip
import io
import json
import re

import damage
from hypothesis import given, settings
import numpy as np
import pytest

from empg_jax import pages
from empg_jax.config import config as configs
from empg_jax.evaluation import records, tables
from empg_jax.tracking import episode_files, metrics
from empg_jax.training import replay

HOSTILE = "</script><img src=x onerror=alert(1)>"
TURN = {
  "observation": HOSTILE, "action": HOSTILE, "reward": 1.0, "ids": [1, 2], "entropies": [0.5, 0],
  "tokens": [HOSTILE, ""], "values": {HOSTILE: 0.25, "entropy": 0.25},
}  # fmt: skip
EPISODE = {
  "task": HOSTILE, "type": HOSTILE, "group": 0, "index": 0, "success": True, "ended": HOSTILE,
  "reward": 1.0, "info": {"won": True, HOSTILE: HOSTILE}, "turns": [TURN, TURN | {"action": None}],
}  # fmt: skip
LINES = [
  {"format": episode_files.FORMAT, "step": 3, "split": HOSTILE, "episodes": 2},
  EPISODE,
  EPISODE,
]
ROW = {
  "task": "a", "type": "b", "seed": 0, "success": True, "reward": 1.0, "score": 0.5, "turns": 3,
  "invalid": 0, "tokens": 9, "entropy": 0.5, "ended": "done",
}  # fmt: skip
EVALUATION = {"environment": "alfworld", "split": "a", "tasks": {}, "agent": "x",
              "episodes": [ROW, ROW | {"task": "c", "entropy": None}]}  # fmt: skip
CONFIG = {"seed": 1, "env": {"name": "x", "topk": 3}, "pack": {"lengths": [1, 2]}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp("records")


def packed(lines):
  return gzip.compress("\n".join(map(json.dumps, lines)).encode())


def shown(folder, content):
  """The page of a file of episodes, if it can be read; its data is JSON and complete."""
  path = folder / "step_000003.x.jsonl.gz"
  path.write_bytes(content)
  played = damage.answered(episode_files.read, path)
  if played is None:
    return None
  page = pages.render([played], HOSTILE)
  page.encode(errors="replace")
  assert (
    page.count("<script") == page.count("</script>") == pages.render([], "").count("<script") + 1
  )
  assert "<img" not in page
  data = re.search(r'<script type="application/json"[^>]*>(.*)</script>', page)[1]
  json.loads(data, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
  return page


def test_markup_in_an_episode_is_shown_as_text(folder):
  assert shown(folder, packed(LINES)).count("\\u003cimg") >= 5


@settings(max_examples=100)
@given(lines=damage.values(LINES))
def test_episodes_with_other_values_are_shown_or_refused(folder, lines):
  shown(folder, packed(lines if isinstance(lines, list) else [lines]))


@settings(max_examples=50)
@given(content=damage.contents(packed(LINES)))
def test_damaged_episodes_are_shown_or_refused(folder, content):
  shown(folder, content)


@pytest.mark.parametrize("info", [{"a": [1]}, {"a": float("inf")}, {"a": {"b": 1}}], ids=str)
def test_invalid_info_of_an_episode_is_refused(folder, info):
  text = "\n".join(map(json.dumps, [LINES[0], EPISODE, EPISODE | {"info": info}]))
  path = folder / "step_000004.x.jsonl.gz"
  path.write_bytes(gzip.compress(text.replace("Infinity", "1e999").encode()))
  with pytest.raises(ValueError, match="episode 2 lacks something or has it in another type"):
    episode_files.read(path)


def test_a_file_that_decompresses_without_end_is_refused(folder, monkeypatch):
  monkeypatch.setattr(episode_files, "MAX_LINE", 1 << 20)
  path = folder / "step_000005.x.jsonl.gz"
  path.write_bytes(gzip.compress(b" " * (1 << 25)))
  with pytest.raises(ValueError, match="line 1 goes beyond what is read"):
    episode_files.read(path)


@settings(max_examples=80)
@given(evaluation=damage.values(EVALUATION))
def test_evaluations_with_other_values_are_compared_or_refused(folder, evaluation):
  path = folder / "evaluation.json"
  path.write_text(json.dumps(evaluation))
  found = damage.answered(records.read, path)
  if found is not None:
    tables.comparison(["a", "b"], [EVALUATION["episodes"], found["episodes"]])


@pytest.mark.parametrize(
  ("change", "sentence"),
  [
    ({"success": "yes"}, "has 'yes' as success"),
    ({"reward": float("nan")}, "has nan as reward"),
    ({"turns": 10**40}, "has 10000.* as turns"),
    ({"entropy": []}, r"has \[\] as entropy"),
  ],
  ids=range(4),
)
def test_an_evaluation_with_an_invalid_record_is_refused(folder, change, sentence):
  path = folder / "evaluation.json"
  path.write_text(json.dumps(EVALUATION | {"episodes": [ROW | change]}))
  with pytest.raises(ValueError, match=f"is no evaluation, an episode in it {sentence}"):
    records.read(path)
  path.write_text("[" * 10**5)
  with pytest.raises(ValueError, match="is no evaluation"):
    records.read(path)


def test_huge_rewards_are_compared():
  large = [ROW | {"reward": 1e20}, ROW | {"task": "c", "reward": -1e6}]
  assert "return" in tables.comparison(["a", "b"], [EVALUATION["episodes"], large])


@settings(max_examples=60)
@given(config=damage.values(CONFIG))
def test_a_runs_config_with_other_values_is_read_or_refused(folder, config):
  (folder / "config.json").write_text(json.dumps(config))
  damage.answered(configs.read, folder)


@settings(max_examples=40)
@given(content=damage.contents(b'{"step": 1, "a": 2}\n{"step": 2, "a": null}\n'))
def test_damaged_metrics_are_read_or_refused(folder, content):
  (folder / "metrics.jsonl").write_bytes(content)
  damage.answered(metrics.read_rows, folder)


@pytest.mark.parametrize(
  "text", [b"\xff\n", b"[" * 10**5 + b"\n", b'"text"\n', b"7\n"], ids=range(4)
)
def test_a_broken_row_of_metrics_is_refused(folder, text):
  (folder / "metrics.jsonl").write_bytes(b'{"step": 1}\n' + text)
  with pytest.raises(ValueError, match="Line 2 of .* is not a JSON object with a step"):
    metrics.read_rows(folder)
  (folder / "config.json").write_bytes(text)
  with pytest.raises(ValueError, match="config.json is damaged"):
    configs.read(folder)


def batch(**changes):
  """The bytes of a batch as a run keeps it."""
  of_rows = {name: np.zeros(2, np.int32) for name in ("group_ids", "episode_ids")}
  ids = {name: np.zeros((2, 3), np.int32) for name in ("tokens", "actions", "steps", "anchors")}
  floats = ("behavior_logprobs", "behavior_entropy", "rewards")
  floats = {name: np.zeros((2, 3), np.float32) for name in floats}
  file = io.BytesIO()
  np.savez_compressed(
    file, **(of_rows | ids | floats | {"returns": np.zeros(2, np.float32)} | changes)
  )
  return file.getvalue()


@settings(max_examples=100)
@given(content=damage.contents(batch()))
def test_a_damaged_batch_is_read_or_refused(folder, content):
  (folder / "step_7.npz").write_bytes(content)
  damage.answered(replay.load, folder / "step_7.npz")


def test_a_batch_that_is_a_pickle_or_decompresses_without_end_is_refused(folder, monkeypatch):
  path = folder / "step_7.npz"
  path.write_bytes(batch())
  assert replay.load(path).tokens.shape == (2, 3)
  path.write_bytes(batch(tokens=np.array([{"a": 1}], object)))
  with pytest.raises(ValueError, match="is not a batch .*allow_pickle=False"):
    replay.load(path)
  monkeypatch.setattr(replay, "MAX_BYTES", 10_000)
  path.write_bytes(batch(tokens=np.zeros((100, 100), np.int32)))
  with pytest.raises(ValueError, match="step_7.npz is not a batch .*more than 10000"):
    replay.load(path)
