"""Figures of runs: what is drawn is what metrics.jsonl and the policies say."""

import json
import os
import pathlib
import subprocess
import sys
import xml.etree.ElementTree

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the extra plot is not installed")

from empg_jax.config import config as configs
from empg_jax.core import modulation
from empg_jax.distributed import sharding
from empg_jax.models import folder
from empg_jax.plots import curves, drift, intervals, runs, scoring, steps, style
from empg_jax.types import Batch
from empg_jax.workdir import resume

ROOT = pathlib.Path(__file__).resolve().parents[2]


def make_run(workdir, seed, **changes):
  config = configs.load("configs/alfworld.py")
  config.seed = seed
  with config.unlocked():
    config.update(changes)
  resume.claim(workdir, config)
  rows = []
  for step in range(5):
    row = {"step": step, "train/success": (step + seed) / 10, "loss/kl": 0.0}
    row |= {f"empg/g_{name}": x for name, x in dict(min=0.4, mean=1, std=0.2, max=1.2).items()}
    if step % 2 == 0:
      for split in config.evaluation.splits:
        row |= {f"eval/{split}/success": step / 5, f"eval/{split}/success/heat": step / 4}
    rows.append(row)
  (workdir / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  return runs.read(workdir)


@pytest.fixture
def two_methods(tmp_path):
  seeds = [make_run(tmp_path / f"s{seed}", seed) for seed in (0, 1, 2)]
  return runs.curves([*seeds, make_run(tmp_path / "other", 0, num_steps=7)])


def test_runs_that_differ_only_in_the_seed_are_one_curve(two_methods):
  assert [c.label for c in two_methods] == ["num_steps 50 (3 seeds)", "num_steps 7"]
  found = runs.series(two_methods[0], "train/success")
  np.testing.assert_allclose(found.mean, [0.1, 0.2, 0.3, 0.4, 0.5])
  np.testing.assert_allclose(found.low, [0, 0.1, 0.2, 0.3, 0.4])
  np.testing.assert_allclose(found.high, [0.2, 0.3, 0.4, 0.5, 0.6])


def test_a_step_that_one_run_lacks_is_left_out(tmp_path):
  whole, cut = (make_run(tmp_path / f"s{seed}", seed) for seed in (0, 1))
  curve = runs.Curve("x", (whole, cut._replace(rows=cut.rows[:3])))
  assert runs.series(curve, "train/success").steps.tolist() == [0, 1, 2]
  assert runs.series(curve, "no/metric") is None


def test_kl_of_episodes_is_drawn_with_its_interval(two_methods):
  steps, kl, error = np.array([1, 3]), np.array([0.1, 0.2]), np.array([0.01, 0.02])
  found = {two_methods[1].label: drift.Drift(steps, kl, error)}
  (ax,) = curves.kl_of_episodes(two_methods, found).axes
  (bars,) = ax.containers
  line, _, (intervals,) = bars
  np.testing.assert_allclose(line.get_xydata(), [[1, 0.1], [3, 0.2]])
  ends = np.array([segment[:, 1] for segment in intervals.get_segments()])
  np.testing.assert_allclose(ends, [[0.0804, 0.1196], [0.1608, 0.2392]])
  with pytest.raises(curves.NothingToDraw, match="no run has a KL penalty or episodes"):
    curves.kl_of_episodes(two_methods, {})


def amend(workdir, step, **changes):
  """The run goes on after `step` with other values of its optimizer."""
  config = configs.read(workdir)
  with config.unlocked():
    config.optimizer.update(changes)
  resume.record(workdir, config, resume.claim(workdir, config, amend=True), step)
  return runs.read(workdir)


def test_an_amended_run_is_a_separate_curve_with_a_mark(tmp_path):
  straight, changed = (make_run(tmp_path / name, 0) for name in ("straight", "changed"))
  changed = amend(tmp_path / "changed", 2, learning_rate=1e-4, warmup_steps=0)
  make_run(tmp_path / "begun", 0)
  assert not amend(tmp_path / "begun", 0, b1=0.5).amendments  # before there was a step
  both = runs.curves([straight, changed])
  assert [curve.label for curve in both] == [
    "learning_rate 0.0003, warmup_steps 8",
    "learning_rate 0.0001, warmup_steps 0",
  ]
  for figure in (curves.training(both), curves.learning_curves(both)):
    for ax in figure.axes:
      (mark,) = (line for line in ax.lines if line.get_linestyle() == "--")
      assert mark.get_xdata() == [2, 2]
      (text,) = ax.texts
      assert text.get_text() == "learning_rate 0.0003 → 0.0001\nwarmup_steps 8 → 0"
  assert [len(ax.texts) for ax in curves.scales(both).axes] == [0, 1]


def test_every_figure_of_the_metrics_is_drawn_or_says_why_not(two_methods, tmp_path):
  with style.styled():
    for name, draw in curves.FIGURES.items():
      if name == "kl":
        with pytest.raises(curves.NothingToDraw, match="no run has a KL penalty"):
          draw(two_methods)
        continue
      png, svg = style.save(draw(two_methods), tmp_path, name)
      assert png.read_bytes()[:4] == b"\x89PNG"
      xml.etree.ElementTree.parse(svg)


def test_the_script_draws_the_given_runs(tmp_path):
  for seed in (0, 1):
    make_run(tmp_path / f"s{seed}", seed)
  command = [sys.executable, str(ROOT / "launch" / "plot.py"), f"--out={tmp_path}", "--episodes=0"]
  command += [f"--workdir={tmp_path}/s{seed}" for seed in (0, 1)]
  environment = os.environ | {"PYTHONPATH": str(ROOT)}
  done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
  assert done.returncode == 0, done.stderr
  assert "no kl: no run has a KL penalty" in done.stdout
  assert (tmp_path / "learning_curves.png").exists()


def test_the_line_of_a_figure_is_the_mean_in_percent(two_methods):
  ax = curves.learning_curves(two_methods).axes[0]
  assert ax.get_ylabel() == "success (% of episodes)"
  np.testing.assert_allclose(ax.lines[0].get_xydata(), [[0, 0], [2, 40], [4, 80]])


def with_episodes(run, n):
  """The run whose evaluations have played so many episodes of all types, and of heat half."""
  for row in run.rows:
    for name in [name for name in row if name.startswith("eval/")]:
      row[name.replace("/success", "/episodes")] = n // 2 if name.endswith("/heat") else n
  return run


def test_an_evaluation_of_one_seed_has_the_interval_of_its_tasks(tmp_path):
  (curve,) = runs.curves([with_episodes(make_run(tmp_path / "s", 0), 20)])
  figure = curves.learning_curves([curve])
  (band,) = figure.axes[0].collections
  ends = band.get_paths()[0].vertices
  # Of 8 wins in 20, by Wilson's formula.
  at_two = sorted({round(y, 1) for x, y in ends if x == 2})
  assert at_two == [21.9, 61.3]
  assert "95% interval over the tasks" in figure.get_supxlabel()


@pytest.mark.parametrize(
  "wins, n, low, high",
  [(0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (81, 263, 0.2553, 0.3662)],
)
def test_the_interval_of_a_share_is_wilsons(wins, n, low, high):
  """The last as in R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
  found = intervals.wilson(np.array([wins / n]), np.array([n]))
  np.testing.assert_allclose(np.concatenate(found), [low, high], atol=6e-5)


def test_axes_begin_at_zero_end_at_100_percent_and_count_whole_steps(two_methods, tmp_path):
  for ax in curves.learning_curves(two_methods).axes:
    assert ax.get_ylim() == (0, 100)
  success, *others = curves.training(two_methods).axes
  assert success.get_ylim() == (0, 100) and {ax.get_ylim()[0] for ax in others} == {0}
  short = make_run(tmp_path / "short", 0)
  for count in (1, 2, 3):  # steps of a run that has just begun
    (curve,) = runs.curves([short._replace(rows=short.rows[:count])])
    for ax in curves.training([curve]).axes:
      assert all(tick == round(tick) for tick in ax.get_xticks())


def test_every_row_of_the_types_has_its_number_of_episodes(tmp_path):
  (curve,) = runs.curves([with_episodes(make_run(tmp_path / "s", 0), 20)])
  for ax in curves.success_by_type([curve]).axes:
    assert [text.get_text() for text in ax.texts] == ["n=10", "n=20"]


def test_a_long_training_curve_is_drawn_raw_and_smoothed(tmp_path):
  run = make_run(tmp_path / "s", 0)
  values = [0, 1] * 6
  rows = [{"step": step, "train/success": value} for step, value in enumerate(values)]
  (curve,) = runs.curves([run._replace(rows=rows)])
  raw, smooth = curves.training([curve]).axes[0].lines
  np.testing.assert_allclose(raw.get_ydata(), 100 * np.array(values))
  ends = smooth.get_ydata()[[0, 1, 2, -1]] / 100
  np.testing.assert_allclose(ends, [1 / 3, 1 / 2, 2 / 5, 2 / 3])


def test_the_squared_gradient_is_that_of_automatic_differentiation():
  model = folder.load("alfworld-tiny", sharding.make_mesh())
  rng = np.random.default_rng(0)
  tokens, actions, place = rng.integers(0, 800, (3, 2, 12)).astype(np.int32)
  place = np.zeros_like(place)
  place[0, 3:6], place[0, 8:9], place[1, 2:11] = 1, 2, 1
  zeros = np.zeros(place.shape, np.float32)
  ids = np.arange(2, dtype=np.int32)
  batch = Batch(tokens, actions, place, zeros, zeros, zeros, place, zeros[:, 0], ids, ids)
  entropy, expected, drawn = scoring.scores(
    model, batch=batch, size=1, temperature=0.7, compute_dtype="float32"
  )
  logits = jax.jit(lambda m: m(jnp.asarray(tokens)) @ m.unembedding / 0.7)(model)
  gradient = jax.vmap(jax.grad(lambda z, a: jax.nn.log_softmax(z)[a]), (None, 0))
  p = np.asarray(jax.nn.softmax(logits))
  for step, (row, own) in enumerate(((0, slice(3, 6)), (0, slice(8, 9)), (1, slice(2, 11)))):
    norms = [
      (p[row, t] * np.sum(np.square(gradient(logits[row, t], np.arange(p.shape[2]))), axis=1))
      for t in range(own.start, own.stop)
    ]
    assert expected[step] == pytest.approx(np.sum(norms, axis=1).mean(), rel=1e-3)
    want = [-np.sum(x * np.log(x)) for x in p[row, own]]
    assert entropy[step] == pytest.approx(np.mean(want), rel=1e-3)
    onehot = np.eye(p.shape[2])[actions[row, own]]
    want = np.sum(np.square(onehot - p[row, own]), axis=1).mean()
    assert drawn[step] == pytest.approx(want, rel=1e-3)


def test_figures_of_steps_show_their_numbers(tmp_path):
  entropy = np.random.default_rng(0).exponential(0.3, 400)
  found = scoring.Steps(entropy, entropy / 2, -np.expm1(-entropy) / 2, -np.expm1(-entropy) / 2)
  with style.styled():
    for name, draw in steps.FIGURES.items():
      style.save(draw(found, 1.0, "a run"), tmp_path, name)
  bars = steps.entropy_change(found, 1.0, "a run").axes[0].patches
  assert len(bars) == 20
  assert sum(bar.get_height() for bar in bars) / 20 == pytest.approx(-entropy.mean() / 2)


def test_with_fewer_steps_than_bins_each_step_is_a_bin():
  found = scoring.Steps(*[np.array([0.3, 0.1, 0.2])] * 4)
  assert len(steps.entropy_change(found, 1.0, "a run").axes[0].patches) == 3
  steps.gradient_by_entropy(found, 1.0, "a run")


def test_a_diverged_policys_figures_show_the_initial_policy():
  found = scoring.Steps(*[np.array([0.3, 0.1, 0.2])] * 4)
  found = found._replace(entropy_after=np.full(3, np.nan))
  (ax,) = [steps.FIGURES[name](found, 1.0, "a run") for name in steps.FIGURES][-1].axes
  assert len(ax.patches) == 2


def test_the_drawn_g_equals_the_updates():
  entropy = jnp.asarray(np.random.default_rng(0).exponential(0.3, (1, 50)), jnp.float32)
  exists = jnp.ones((1, 50), bool)
  normal = modulation.normalize_entropy(entropy, exists)
  want = modulation.gradient_scale(normal, exists, 2.0)
  np.testing.assert_allclose(steps._scale(np.asarray(entropy[0]), 2.0), want[0], rtol=1e-5)
