"""JSON writers write numbers that are not finite as null, and readers accept it."""

import gzip
import json
import math
import pathlib
import re
import types

import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest

from empg_jax import chat as chats, pages
from empg_jax.evaluation import records
from empg_jax.io import json_text
from empg_jax.models import folder
from empg_jax.plots import drift
from empg_jax.tracking import episode_files, metrics, report
from empg_jax.types import Episode, Turn

ROOT = pathlib.Path(__file__).resolve().parents[1]
NAN, INF = float("nan"), float("inf")


def strict(text):
  return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_json_of_any_number_is_standard_json():
  value = {"a": [NAN, (INF, 1)], "b": np.float32(-INF), "c": np.arange(2), "d": jnp.float32(NAN)}
  value |= {"e": np.float64(NAN), "f": np.int64(3), "g": np.bool_(True), 1.5: 0.1, "h": "NaN"}
  assert strict(json_text.dumps(value, indent=1)) == {
    "a": [None, [None, 1]], "b": None, "c": [0, 1], "d": None,
    "e": None, "f": 3, "g": True, "1.5": 0.1, "h": "NaN",
  }  # fmt: skip


def test_json_of_finite_numbers_equals_the_standard_librarys():
  value = {"b": [1, 0.1, "\u2028"], "a": {"x": None}}
  for layout in ({}, {"indent": 2}, {"sort_keys": True}, {"ensure_ascii": False}):
    assert json_text.dumps(value, **layout) == json.dumps(value, **layout)


def test_json_that_only_python_reads_loses_nothing():
  back = json.loads(json_text.dumps({"clip": INF, "x": NAN}, lossless=True))
  assert back["clip"] == INF and math.isnan(back["x"])


def test_json_of_a_value_that_is_not_plain_is_refused():
  with pytest.raises(TypeError, match="<object object .* is not a plain value"):
    json_text.dumps([NAN, object()])


def test_no_other_module_writes_json():
  known = {"json_text.py", "answers.py"}  # the latter checks an environment's answer
  files = [*(ROOT / "empg_jax").rglob("*.py"), *(ROOT / "launch").rglob("*.py")]
  writing = {path.name for path in files if re.search(r"\bjson\.dumps?\b", path.read_text())}
  assert writing == known


def diverged():
  """An episode of a policy whose numbers are NaN."""
  ids, none = np.array([104, 105, 0], np.int32), np.full(3, NAN, np.float32)
  turn = Turn((1,), ids, none, np.array([0.5, NAN, INF], np.float32), "A room.", "hi", None, 0.0)
  return Episode("heat/3", 0, 0, (turn,), 0.0, False, "turns", {"won": False, "score": NAN})


def test_json_of_a_diverged_policys_episodes_is_read_and_shown(tmp_path):
  letters = lambda ids: "".join(chr(i) for i in ids if i)
  values = {(0, 0): [{"g": NAN, "advantage": -INF}]}
  path = episode_files.write(
    tmp_path, 1, "train", [diverged()], text=letters, task_type=str, values=values
  )
  for line in gzip.decompress(path.read_bytes()).splitlines():
    strict(line)
  (record,) = (played := episode_files.read(path)).episodes
  (turn,) = record["turns"]
  assert turn["entropies"] == [0.5, None, None]
  assert turn["values"] == {"entropy": None, "g": None, "advantage": None}
  assert '"entropies":[[500,null,null]]' in pages.render([played], "diverged")
  again = drift.episode(record, chats.load(folder.locate("alfworld-tiny")), None)
  np.testing.assert_array_equal(again.turns[0].entropy, [0.5, NAN, NAN])


def test_json_of_a_diverged_policys_evaluation_is_read(tmp_path):
  environment = types.ModuleType("made")
  environment.SCORE, environment.task_type = "won", str
  about = dict(environment="x", split="y", tasks={}, agent="z", summary={"mean": NAN})
  found = records.record(diverged(), environment, seed=0)
  records.write(tmp_path / "e.json", about | {"episodes": [found]})
  strict((tmp_path / "e.json").read_text())
  assert records.read(tmp_path / "e.json")["episodes"][0]["entropy"] is None


def test_json_of_an_evaluation_without_episodes_is_reported(tmp_path, capsys):
  aborted = Episode("heat/3", 0, 0, (), 0.0, False, "aborted", {"error": "x", "fault": "error"})
  with metrics.MetricsWriter(tmp_path) as writer:
    found = metrics.summarize([aborted]) | {"score": NAN}
    writer.write(0, metrics.prefixed("eval/valid", found))
  (row,) = metrics.read_rows(tmp_path)
  assert row["eval/valid/success"] is None
  config = ConfigDict({"algorithm": {}, "evaluation": {"splits": ("valid",)}, "num_steps": 3})
  report.Report(config, tmp_path).row(row)
  assert "valid - (score -)" in capsys.readouterr().out
