"""Console output of a run."""

import io
import math
import pathlib
import sys
import time

import jax
import ml_collections
import pytest

from empg_jax import console
from empg_jax.console import Progress, StepLines, brief, duration, success_table
from empg_jax.tracking import report

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


def test_a_step_is_one_line_below_the_heading():
  lines = StepLines(150)
  assert [lines.heading, lines.line(ROW, 754.0)] == [
    "step success return turns     H         g mismatch clip grad seconds  left",
    "   7   41.2%  0.381  18.2 0.310 0.61-1.42  1.2e-03 0.4% 0.82   21-14 12:34",
  ]


def test_a_run_with_a_kl_penalty_has_a_column_for_it_and_80_characters():
  lines = StepLines(150, with_kl=True)
  row = ROW | {"loss/kl": 0.0421, "update/grad_norm": 123.4, "loss/clip_fraction": 0.1234}
  row |= {"train/success": 1.0, "time/rollout_s": 843.0, "time/update_s": 512.0, "step": 150}
  assert [lines.heading, lines.line(row, 9000.0)] == [
    "step success return turns     H         g    KL mismatch clip grad seconds  left",
    " 150  100.0%  0.381  18.2 0.310 0.61-1.42 0.042  1.2e-03  12%  123 843-512 2h30m",
  ]
  assert {len(lines.heading), len(lines.line(row, None))} == {80}


def test_a_method_without_empg_has_the_entropy_of_its_rollout():
  row = {"step": 1, "train/entropy_mean": 0.25, "aem/g_min": 0.5, "aem/g_max": 2.0}
  assert StepLines(9).line(row, None).split()[:6] == ["1", "-", "-", "-", "0.250", "0.50-2.00"]


def test_a_missing_number_is_a_dash():
  row = {"step": 1, "train/success": None, "train/return": math.nan}
  assert StepLines(9).line(row, None).split() == ["1", *"-" * 10]


@pytest.mark.parametrize(
  "first, last, left",
  [(1, 9, "-"), (1, 10, "1:30"), (10, 10, "-"), (10, 11, "1:29"), (1, 100, "0:00")],
)
def test_no_time_left_is_estimated_before_a_tenth_is_done(
  monkeypatch, capsys, tmp_path, first, last, left
):
  """The estimate excludes the first step of a process, which may compile."""
  now = [0.0]
  monkeypatch.setattr(report.time, "monotonic", lambda: now[0])
  config = ml_collections.ConfigDict(
    dict(num_steps=100, algorithm=dict(name="grpo"), evaluation=dict(splits=()))
  )
  shown = report.Report(config, tmp_path)
  for step in range(first, last + 1):
    now[0] += 300.0 if step == first else 1.0
    shown.row({"step": step})
  heading, *_, line = capsys.readouterr().out.splitlines()
  assert heading.split()[0] == "step" and line.split()[-1] == left


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
      now[0] += 1.5
      bar.update(1)
  assert stream.getvalue().splitlines() == [
    "rollout: 40/100 episodes, 1:00 so far, about 1:30 left",
    "rollout: 80/100 episodes, 2:00 so far, about 0:30 left",
  ]


def test_on_a_terminal_progress_is_a_bar_that_disappears(monkeypatch):
  class Terminal(io.StringIO):
    def isatty(self):
      return True

  monkeypatch.setattr(sys, "stderr", stream := Terminal())
  with Progress("rollout", total=4, unit="episodes") as bar:
    bar.update(1)
    bar.update(3)
  assert "rollout:   0%" in stream.getvalue() and "0/4" in stream.getvalue()
  assert stream.getvalue().endswith("\r")


def test_a_few_outliers_that_set_the_range_of_entropies_are_reported():
  row = {"empg/compressed": 0.95, "empg/entropy_min": 0.01, "empg/entropy_max": 3.2}
  assert console.warnings(row) == [
    "95% of the steps are in the lowest 5% of the range of step entropies (0.010 to 3.200): a"
    " few outliers set the range, and EMPG's scale hardly distinguishes the other steps."
  ]
  assert not console.warnings(row | {"empg/compressed": 0.9})
  assert not console.warnings({})


def test_progress_estimates_no_time_left_before_a_tenth_is_done(monkeypatch):
  now = [0.0]
  monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
  monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
  with Progress("rollout", total=100, unit="episodes") as bar:
    for n in (9, 1):
      now[0] += 61
      bar.update(n)
  assert stream.getvalue().splitlines() == [
    "rollout: 9/100 episodes, 1:01 so far",
    "rollout: 10/100 episodes, 2:02 so far, about 18:18 left",
  ]


@pytest.mark.parametrize("seconds, text", [(65, "1:05"), (3599.7, "1h00m"), (184_000, "2d03h")])
def test_a_time_left_has_five_characters(seconds, text):
  assert brief(seconds) == text


def test_many_short_compilations_are_announced_and_many_loaded_programs_are_not(capsys):
  hit = "/jax/compilation_cache/cache_hits"
  for found in (True, False):
    with report.compiling("the sampler"):
      for _ in range(3):
        jax.monitoring.record_event(report._COMPILE)
        if found:
          jax.monitoring.record_event(hit)
        jax.monitoring.record_event_duration_secs(report._COMPILED, 3.0)
      jax.monitoring.record_event(report._COMPILE)
      time.sleep(0.1)
    assert capsys.readouterr().out.count("compiling the sampler") == (not found)


@pytest.mark.parametrize("found", [False, True])
def test_a_compilation_is_announced_once_unless_it_is_found_compiled(monkeypatch, capsys, found):
  monkeypatch.setattr(report, "_LOADING_S", 0.05)
  with report.compiling("the update"):
    for _ in range(2):  # programs
      jax.monitoring.record_event("/jax/compilation_cache/compile_requests_use_cache")
      if found:
        over = "/jax/core/compile/backend_compile_duration"
        jax.monitoring.record_event_duration_secs(over, 0.0)
    time.sleep(0.2)
  assert capsys.readouterr().out.count("compiling the update") == (not found)


def test_compiling_a_program_is_announced(monkeypatch, capsys, tmp_path):
  """JAX's events have the names in report.compiling."""
  monkeypatch.setattr(report, "_LOADING_S", 0.0)
  heard = []
  jax.monitoring.register_event_listener(listen := lambda event, **_: heard.append(event))
  over = lambda event, seconds, **_: heard.append(event)
  jax.monitoring.register_event_duration_secs_listener(over)
  try:
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    jax.jit(lambda x: x + 41.25)(1.0)
  finally:
    jax.config.update("jax_compilation_cache_dir", before)
    jax.monitoring.unregister_event_listener(listen)
    jax.monitoring.unregister_event_duration_listener(over)
  assert report._COMPILE in heard
  assert heard.index(report._COMPILED) > heard.index(report._COMPILE)


def test_a_run_opens_with_its_settings_and_closes_with_its_results(capsys, monkeypatch):
  config = ml_collections.ConfigDict(
    dict(
      num_steps=5, model=dict(path="some-model"), evaluation=dict(splits=("seen",)),
      algorithm=dict(name="empg", k=1.0, k_future=1.0, zeta=0.05, base=dict(name="grpo")),
    )
  )  # fmt: skip
  report.opening(config, pathlib.Path("runs/x"), "alfworld:tiny")
  first, second = capsys.readouterr().out.splitlines()
  assert first.endswith(": alfworld:tiny, empg over grpo, k=1, zeta=0.05")
  assert second.startswith("  some-model on ") and second.endswith(", in runs/x")
  monkeypatch.setattr(sys, "argv", ["launch/train.py"])
  rows = [{"step": n, "eval/seen/success": n / 10, "eval/seen/episodes": 10} for n in (0, 5)]
  report.Report(config, pathlib.Path("runs/x y")).gain(rows)
  *_, gains, read, draw = capsys.readouterr().out.splitlines()
  assert gains == "seen 0.0% -> 50.0%"
  assert read.endswith("launch/pages.py --workdir='runs/x y'") and "--out=plots" in draw
  monkeypatch.setattr(sys, "argv", ["/lib/empg_jax/launch/train.py"])
  assert report._command("pages") == "empg pages"
