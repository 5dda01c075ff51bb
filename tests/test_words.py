"""Messages count and list in plain English."""

import ast
import pathlib
import re

import numpy as np
import pytest

from empg_jax import console
from empg_jax.io import words
from empg_jax.tracking import transcript
from empg_jax.types import Episode, Turn

# Their numbers are always larger than 1, or in a table.
NEVER_ONE = {"embedded.py", "dry_run.py", "compare.py", "loss.py"}
ROOT = pathlib.Path(__file__).resolve().parents[1]


def test_counts_are_singular_or_plural():
  assert words.count(1, "game") == "1 game"
  assert words.count(0, "game") == "0 games"
  assert words.count(2000, "leaf", "leaves") == "2,000 leaves"


def test_choices_are_singular_or_plural():
  assert words.choices([]) == "there is nothing"
  assert words.choices([1]) == "there is 1"
  assert words.choices([1, 2]) == "there are 1, 2"


def test_the_final_table_has_one_game_and_no_negative_zero():
  row = {"eval/a/success": 1.0, "eval/a/episodes": 1, "eval/a/success/x": 0.0}
  assert "1 game " in console.success_table(row, row, ["a"])
  row = {"step": 1, "train/return": -0.0, "loss/behavior_kl": -0.0}
  cells = console.StepLines(9).line(row, None).split()
  assert "0.000" in cells and "0.0e+00" in cells
  assert not any(cell[0] == "-" for cell in cells if cell != "-")


def test_an_episode_has_one_turn_and_no_negative_zero():
  none = np.zeros(0, np.float32)
  turn = Turn((), none.astype(np.int32), none, none, "a room", "look", "look", -0.0)
  episode = Episode("task", 0, 0, (turn,), -0.0, False, "turns", {})
  printed = list(transcript.lines(episode, k=1.0))
  assert "  reward 0" in printed and "after 1 turn (ended: turns), return 0" in printed[-1]


COUNTED = r" (games|episodes|turns|steps|rows|files|passages|plays|starts|minibatches)\b"


@pytest.mark.parametrize("folder", ["empg_jax", "launch"])
def test_no_message_counts_one_games(folder):
  """A noun after a number that may be 1 comes from words.count."""
  for path in sorted((ROOT / folder).rglob("*.py")):
    if "benchmark" in path.parts or path.name in NEVER_ONE:
      continue
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
      parts = getattr(node, "values", []) if isinstance(node, ast.JoinedStr) else []
      for before, after in zip(parts, parts[1:]):
        if isinstance(before, ast.FormattedValue) and isinstance(after, ast.Constant):
          counted = re.match(COUNTED, after.value)
          assert not counted, f"{path}:{after.lineno} writes '{counted[0]}' after any number"
