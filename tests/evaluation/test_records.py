"""Files of evaluations: what is no evaluation, or of other tasks, raises one sentence."""

from made_records import record
import pytest

from empg_jax.evaluation import records

ABOUT = dict(environment="alfworld", split="valid_seen", tasks={"games": "small"}, agent="x")


def test_an_evaluation_comes_back_as_it_was(tmp_path):
  evaluation = ABOUT | dict(episodes=[record("a", True)])
  records.write(tmp_path / "new" / "a.json", evaluation)
  assert records.read(tmp_path / "new" / "a.json") == evaluation


@pytest.mark.parametrize(
  "text, sentence",
  [
    (None, "There is no file"),
    ("no json", "is no evaluation"),
    ("[]", "is no evaluation"),
    ('{"episodes": []}', "lacks agent, environment, split, tasks"),
    ('{"environment": 1, "split": 1, "tasks": 1, "agent": 1, "episodes": [{}]}', "lacks ended"),
  ],
)
def test_what_is_no_evaluation_is_reported(tmp_path, text, sentence):
  if text is not None:
    (tmp_path / "a.json").write_text(text)
  with pytest.raises(ValueError, match=sentence):
    records.read(tmp_path / "a.json")


def test_different_splits_are_not_compared():
  other = ABOUT | dict(split="valid_unseen")
  with pytest.raises(ValueError, match="b.json is of split valid_unseen and a.json of valid_seen"):
    records.check_comparable(["a.json", "b.json"], [ABOUT, other])


def test_evaluations_without_a_task_in_common_are_not_compared():
  a, b = (ABOUT | dict(episodes=[record(task, True)]) for task in "ab")
  records.check_comparable(["a.json", "a.json"], [a, a])
  with pytest.raises(ValueError, match="b.json and a.json have no task and seed in common"):
    records.check_comparable(["a.json", "b.json"], [a, b])
