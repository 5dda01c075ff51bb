"""What a run shows on the console."""

import io
import math
import sys

import pytest

from empg_jax import console
from empg_jax.console import Progress, duration, step_line, success_table

ROW = {
    "step": 7,
    "train/success": 0.4125,
    "train/return": 0.3812,
    "train/turns": 18.25,
    "empg/entropy_min": 0.021,
    "empg/entropy_mean": 0.31,
    "empg/entropy_max": 1.2,
    "empg/g_min": 0.61,
    "empg/g_max": 1.416,
    "loss/behavior_kl": 0.0012,
    "loss/clip_fraction": 0.004,
    "update/grad_norm": 0.823,
    "time/tokens_per_s": 6431.2,
    "time/rollout_s": 21.34,
    "time/update_s": 14.21,
}


def test_a_step_is_one_line_with_every_number():
  assert step_line(ROW, 150) == (
      "step   7/150  success 41.2%  return 0.381  turns 18.2  H 0.021/0.310/1.200  g 0.61/1.42  "
      "KL 1.2e-03  clip 0.4%  grad 0.82  tokens/s 6,431  rollout 21.3s  update 14.2s"
  )


def test_a_missing_number_is_a_dash():
  line = step_line({"step": 0, "train/success": None, "train/return": math.nan}, 9)
  assert line.startswith("step 0/9  success -  return -  turns -  H -/-/-  g -/-")


def test_the_final_table_shows_every_type_before_and_after():
  before = {"eval/valid_seen/success": 0.4, "eval/valid_seen/success/heat": 0.5}
  after = {
      "eval/valid_seen/success": 0.625,
      "eval/valid_seen/episodes": 140,
      "eval/valid_seen/success/heat": 0.75,
      "eval/valid_seen/episodes/heat": 16,
      "eval/valid_seen/success/cool": 1.0,
      "eval/valid_seen/episodes/cool": 3,
      "eval/valid_unseen/success": 0.5,
      "eval/valid_unseen/episodes": 134,
  }
  assert success_table(before, after).splitlines() == [
      "task type  valid_seen  before   after  valid_unseen  before  after",
      "---------  ----------  ------  ------  ------------  ------  -----",
      "cool          3 games       -  100.0%             -       -      -",
      "heat         16 games   50.0%   75.0%             -       -      -",
      "---------  ----------  ------  ------  ------------  ------  -----",
      "all         140 games   40.0%   62.5%     134 games       -  50.0%",
  ]


@pytest.mark.parametrize(
    "seconds, text", [(0.4, "0:00"), (65, "1:05"), (3605, "1:00:05"), (59.7, "1:00")]
)
def test_durations(seconds, text):
  assert duration(seconds) == text


def test_without_a_terminal_progress_is_an_occasional_line_with_the_time_left(monkeypatch):
  now = [0.0]
  monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
  monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
  with Progress("rollout", total=100, unit="episodes") as bar:
    for _ in range(100):
      now[0] += 0.5
      bar.update(1)
  assert stream.getvalue().splitlines() == [
      "rollout: 40/100 episodes, 0:20 so far, about 0:30 left",
      "rollout: 80/100 episodes, 0:40 so far, about 0:10 left",
  ]


def test_on_a_terminal_progress_is_a_bar_that_goes_away(monkeypatch):
  class Terminal(io.StringIO):

    def isatty(self):
      return True

  monkeypatch.setattr(sys, "stderr", stream := Terminal())
  with Progress("rollout", total=4, unit="episodes") as bar:
    bar.update(1)
    bar.update(3)
  assert "rollout:   0%" in stream.getvalue() and "0/4" in stream.getvalue()
  assert stream.getvalue().endswith("\r")


def test_a_few_outliers_that_set_the_range_of_entropies_are_told():
  row = {"empg/compressed": 0.95, "empg/entropy_min": 0.01, "empg/entropy_max": 3.2}
  assert console.warnings(row) == [
      "95% of the steps lie in the lowest twentieth of the range of step entropies (0.010 to"
      " 3.200): a few outliers set it, and EMPG's scale hardly tells the others apart."
  ]
  assert not console.warnings(row | {"empg/compressed": 0.9})
  assert not console.warnings({})
