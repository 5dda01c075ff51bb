"""Episodes are written and read back; a broken file raises a one-line error."""

import gzip
import json

import numpy as np
import pytest

from empg_jax.tracking import episode_files
from empg_jax.types import Episode, Turn


def letters(ids):
  """One id per character; 0 ends a reply."""
  return "".join(chr(i) for i in ids if i)


def turn(text, action, reward, *entropy, observation="A room."):
  ids = np.array([*map(ord, text), 0], np.int32)
  return Turn((1,), ids, -ids / 9, np.array(entropy, np.float32), observation, text, action, reward)


TURNS = (
  turn("hi", "hi", 0.0, 0.12345, 2.0, 0.0),
  turn("o", None, -0.1, 1.0, 0.5, observation="<b>\u2028</b>"),
)
WON = Episode("heat/3", 0, 1, TURNS, -0.1, True, "done", {"won": True, "commands": ["look"]})
ABORTED = Episode("cool/7", 1, 0, (), 0.0, False, "aborted", {"error": "KeyError: a trap"})


def write(folder, played=(WON, ABORTED), **values):
  kind = lambda task: task.split("/")[0]
  return episode_files.write(folder, 20, "train", played, text=letters, task_type=kind, **values)


def test_written_episodes_are_read_back(tmp_path):
  values = {(0, 1): [{"entropy": 0.7, "g": 1 / 3}, {"entropy": 0.75, "g": 1.25}]}
  path = write(tmp_path, values=values)
  assert path == tmp_path / "episodes" / "step_000020.train.jsonl.gz"
  step, split, (won, aborted) = episode_files.read(path)
  assert (step, split) == (20, "train")
  first, second = won.pop("turns")
  assert won == {
    "task": "heat/3", "type": "heat", "group": 0, "index": 1, "success": True, "ended": "done",
    "reward": -0.1, "info": {"won": True},
  }  # fmt: skip
  assert first == {
    "observation": "A room.", "action": "hi", "reward": 0.0, "ids": [104, 105, 0],
    "tokens": ["h", "i", ""], "entropies": [0.123, 2.0, 0.0],
    "values": {"entropy": 0.7, "g": 0.333333},
  }  # fmt: skip
  assert second["action"] is None and second["observation"] == "<b>\u2028</b>"
  assert aborted["info"] == {"error": "KeyError: a trap"} and aborted["turns"] == []


def test_without_values_a_turn_has_its_mean_entropy_alone(tmp_path):
  won = episode_files.read(write(tmp_path)).episodes[0]
  assert [turn["values"] for turn in won["turns"]] == [{"entropy": 0.707817}, {"entropy": 0.75}]


def test_the_same_episodes_make_the_same_file(tmp_path):
  assert write(tmp_path / "a").read_bytes() == write(tmp_path / "b").read_bytes()


def test_files_of_a_run_are_found_in_the_order_of_its_steps(tmp_path):
  with pytest.raises(FileNotFoundError, match="There are no episodes in .*launch/train.py writes"):
    episode_files.files(tmp_path)
  write(tmp_path)
  episode_files.write(tmp_path, 3, "valid", [], text=letters, task_type=str)
  assert [episode_files.read(path)[:2] for path in episode_files.files(tmp_path)] == [
    (3, "valid"), (20, "train"),
  ]  # fmt: skip


def damaged(lines, change):
  """The lines of a file after one change to its objects."""
  objects = [json.loads(line) for line in lines]
  change(objects)
  return "\n".join(map(json.dumps, objects))


CHANGES = {
  "its format is not": lambda o: o[0].update(format="other"),
  "its first line is not a heading": lambda o: o[0].update(step="20"),
  "it has 1 episode, and its heading says 2": lambda o: o.pop(),
  "episode 1 lacks something": lambda o: o[1].pop("info"),
  "episode 2 lacks something": lambda o: o[2].update(success=1),
  "turn 2 of episode 1": lambda o: o[1]["turns"][1]["tokens"].pop(),
  "turn 1 of episode 1": lambda o: o[1]["turns"][0]["entropies"].__setitem__(0, True),
  "goes beyond what is read": lambda o: o[1].update(task="x" * 5000),
  "NaN is no number": lambda o: o[1].update(reward=float("nan")),
}


@pytest.mark.parametrize("sentence", CHANGES)
def test_a_broken_file_is_refused_in_one_line(tmp_path, monkeypatch, sentence):
  monkeypatch.setattr(episode_files, "MAX_LINE", 4000)
  path = write(tmp_path)
  text = damaged(gzip.decompress(path.read_bytes()).splitlines(), CHANGES[sentence])
  path.write_bytes(gzip.compress(text.encode()))
  with pytest.raises(ValueError, match="holds no episodes that can be read") as error:
    episode_files.read(path)
  assert sentence in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
  "change",
  [
    lambda x: x[:-20],
    lambda x: b"",
    lambda x: b"plain text",
    lambda x: x[:40] + bytes(20) + x[60:],
    lambda x: gzip.compress(b"[" * 100_000),
    lambda x: gzip.compress(b'"a string"'),
    lambda x: gzip.compress(b"\xff\xfe"),
  ],
)
def test_another_file_is_refused_in_one_line(tmp_path, change):
  path = write(tmp_path)
  path.write_bytes(change(path.read_bytes()))
  with pytest.raises(ValueError, match="holds no episodes that can be read") as error:
    episode_files.read(path)
  assert "\n" not in str(error.value)
  with pytest.raises(FileNotFoundError, match="There is no file .*nowhere: give one of"):
    episode_files.read(tmp_path / "nowhere")
