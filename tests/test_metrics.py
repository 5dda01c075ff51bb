"""The metrics of a run are right, written in strict JSON, and survive a kill."""

import dataclasses
import json
import math

import jax.numpy as jnp
import numpy as np
import pytest

from empg_jax import envs
from empg_jax.tracking import metrics
from empg_jax.tracking.metrics import MetricsWriter, prefixed, read_rows, summarize
from empg_jax.types import Episode, Turn


def turn(entropy: list[float], action: str | None = "look") -> Turn:
  n = len(entropy)
  values = np.array(entropy, np.float32)
  return Turn((1,), np.zeros(n, np.int32), -values, values, "", "", action, 0.0)


EPISODES = [
  Episode("heat/1", 0, 0, (turn([1.0, 2.0]), turn([0.5])), 1.0, True, "done", {}),
  Episode("heat/2", 1, 0, (turn([3.0]), turn([3.0, 4.0, 5.0], None)), -0.1, False, "turns", {}),
  Episode("cool/1", 2, 0, (turn([0.0, 0.0]),), 1.0, True, "done", {}),
  Episode("cool/2", 3, 0, (turn([9.0]),), 5.0, True, "aborted", {"fault": "hang"}),
]


def lines(workdir):
  return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_a_summary_excludes_aborted_episodes():
  assert summarize(EPISODES) == pytest.approx(
    {
      "episodes": 3,
      "aborted": 1,
      **{f"aborted_{fault}": int(fault == "hang") for fault in envs.FAULTS},
      "success": 2 / 3,
      "return": 1.9 / 3,
      "turns": 5 / 3,
      "cut_turns": 1 / 3,
      "cut_length": 0.0,
      "invalid": 1 / 5,
      "invalid_no_action": 1 / 5,
      "invalid_no_think": 0.0,
      "invalid_cjk": 0.0,
      "reply_tokens": 9 / 5,
      "tokens": 9,
      "entropy_min": 0.0,
      "entropy_mean": (1.5 + 0.5 + 3.0 + 4.0 + 0.0) / 5,
      "entropy_max": 4.0,
      "entropy_std": np.std([1.5, 0.5, 3.0, 4.0, 0.0]),
    }
  )


def test_entropy_by_turn_by_hand():
  assert metrics.entropy_by_turn(EPISODES) == pytest.approx(
    {"entropy_turn/1": (1.5 + 3.0 + 0.0) / 3, "entropy_turn/2": (0.5 + 4.0) / 2}
  )


def test_a_summary_by_task_type():
  summary = summarize(EPISODES, lambda task: task.split("/")[0])
  assert {name: summary[name] for name in summary if "/" in name} == {
    "success/cool": 1.0,
    "episodes/cool": 1,
    "success/heat": 0.5,
    "episodes/heat": 2,
  }


def test_an_invalid_reply_is_counted_under_its_fault():
  texts = ("look", "<action>look</action>", "<action>look</action>", "<think></think>")
  turns = [dataclasses.replace(turn([1.0], None), text=text) for text in texts]
  summary = summarize([Episode("heat/1", 0, 0, (*turns, turn([1.0])), 0.0, False, "turns", {})])
  assert summary["invalid"] == 4 / 5
  assert summary["invalid_no_action"] == summary["invalid_no_think"] == 2 / 5


def test_a_summary_of_nothing_has_the_same_names_and_no_numbers():
  empty = summarize([])
  assert list(empty) == list(summarize(EPISODES))
  assert empty["episodes"] == 0 and math.isnan(empty["success"])


def test_one_object_a_step_written_when_the_next_step_begins(tmp_path):
  with MetricsWriter(tmp_path) as writer:
    assert writer.write(0, prefixed("eval/valid_seen", {"success": 0.5})) is None
    assert writer.write(0, {"train/success": 0.25}, {"compile/count": 3}) is None
    assert lines(tmp_path) == []
    row = {
      "step": 0,
      "eval/valid_seen/success": 0.5,
      "train/success": 0.25,
      "compile/count": 3,
    }
    assert writer.write(1, {"train/success": 1}) == row
    assert lines(tmp_path) == [row]
  assert lines(tmp_path) == [row, {"step": 1, "train/success": 1}] == read_rows(tmp_path)


def test_a_flushed_row_is_on_the_disk_at_once(tmp_path):
  writer = MetricsWriter(tmp_path)
  writer.write(4, {"a": 1})
  assert writer.flush() == {"step": 4, "a": 1} == lines(tmp_path)[0]
  assert writer.flush() is None and len(lines(tmp_path)) == 1


def test_values_added_to_a_written_row_are_on_the_disk_too(tmp_path):
  writer = MetricsWriter(tmp_path)
  for step in range(3):
    writer.write(step, {"loss": step / 2})
    writer.flush()
  assert writer.amend({"eval/seen/success": 0.5})["loss"] == 1
  assert read_rows(tmp_path) == writer.rows
  assert writer.rows[1:] == [
    {"step": 1, "loss": 0.5}, {"step": 2, "loss": 1.0, "eval/seen/success": 0.5},
  ]  # fmt: skip


def test_device_and_numpy_values_become_plain_numbers(tmp_path):
  values = {
    "f32": jnp.float32(0.1),
    "bf16": jnp.bfloat16(0.5),
    "i32": jnp.int32(7),
    "np": np.float64(1 / 3),
    "bool": np.bool_(True),
  }
  with MetricsWriter(tmp_path) as writer:
    writer.write(0, values)
  assert lines(tmp_path) == [
    {"step": 0, "f32": 0.1, "bf16": 0.5, "i32": 7, "np": 0.3333333, "bool": 1}
  ]


def test_numbers_that_are_not_finite_become_null_in_strict_json(tmp_path):
  with MetricsWriter(tmp_path) as writer:
    writer.write(0, {"nan": math.nan, "inf": -np.inf, "device": jnp.float32(jnp.nan)})
  text = (tmp_path / "metrics.jsonl").read_text()
  assert text == '{"step": 0, "nan": null, "inf": null, "device": null}\n'


@pytest.mark.parametrize("value", [np.zeros(2), jnp.ones((1,)), "text", None])
def test_values_other_than_one_number_are_refused_by_name(tmp_path, value):
  writer = MetricsWriter(tmp_path)
  writer.write(0, {"empg/odd": value})
  with pytest.raises(ValueError, match="metric empg/odd .* a metric is one number"):
    writer.flush()


def test_steps_ascend(tmp_path):
  with MetricsWriter(tmp_path) as writer:
    writer.write(3)
    writer.write(5)
    with pytest.raises(ValueError, match="step 4 came after those of step 5"):
      writer.write(4)


def test_a_resumed_run_drops_the_steps_that_it_will_play_again(tmp_path):
  with MetricsWriter(tmp_path) as writer:
    for step in range(5):
      writer.write(step, {"run": 1})
  with (tmp_path / "metrics.jsonl").open("a") as file:
    file.write('{"step": 5, "ru')  # Killed in the middle of a line.
  with MetricsWriter(tmp_path, first_step=3) as writer:
    assert [row["step"] for row in writer.rows] == [0, 1, 2]
    writer.write(3, {"run": 2})
  assert [(row["step"], row["run"]) for row in lines(tmp_path)] == [
    (0, 1),
    (1, 1),
    (2, 1),
    (3, 2),
  ]
  assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize("line", ["{broken", "[1]", '{"loss": 1}', '{"step": null}'])
def test_a_damaged_file_is_refused_in_one_line_and_unchanged(tmp_path, line):
  (tmp_path / "metrics.jsonl").write_text(f'{{"step": 0}}\n{line}\n')
  with pytest.raises(ValueError, match="Line 2 of .*metrics.jsonl is not a JSON object"):
    MetricsWriter(tmp_path)
  assert (tmp_path / "metrics.jsonl").read_text() == f'{{"step": 0}}\n{line}\n'


def test_without_a_file_there_are_no_rows(tmp_path):
  assert read_rows(tmp_path) == []
  assert metrics.FILE == "metrics.jsonl"
