"""Bounds of config values."""

import math
import pathlib
import subprocess
import sys

import pytest

from empg_jax import envs
from empg_jax.config import bounds, config
from empg_jax.loop import settings

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
  ("key", "value", "wanted"),
  [
    ("evaluation.every", 0, "be at least 1"),
    ("rollout.window", -2, "be at least -1"),
    ("workers.count", -1, "be at least 0"),
    ("workers.timeout_s", 0.0, "be more than 0"),
    ("rollout.max_aborted", 1.5, "be at most 1"),
    ("optimizer.learning_rate", math.nan, "be at least 0"),
    ("policy.piece_lengths", (), "hold one or more"),
    ("pack.lengths", (1024, 0), "hold numbers of at least 1"),
    ("evaluation.splits", (), "hold one or more"),
    ("train.compute_dtype", "float99", "be 'float32' or 'bfloat16'"),
    ("algorithm.k", -1.0, "be at least 0"),
    ("algorithm.base.kl_coef", -0.1, "be at least 0"),
    ("algorithm.base.gamma", 1.1, "be at most 1"),
  ],
)
def test_a_value_out_of_bounds_is_refused_with_the_bounds(key, value, wanted):
  with pytest.raises(ValueError) as error:
    bounds.check([("seed", 0), (key, value)])
  assert str(error.value) == f"config.{key} is {value!r}: it must {wanted}."


@pytest.mark.parametrize(
  ("changes", "sentence"),
  [
    ({"policy.max_reply": 2000}, "max_reply is 2000 and max_length 1024: .* lower max_reply"),
    ({"policy.max_reply": 1024}, "max_reply is 1024 and max_length 1024"),
    ({"policy.piece_lengths": (24, 2048)}, "piece_lengths holds 2048 and max_length is 1024"),
  ],
)
def test_values_that_exclude_each_other_are_refused(changes, sentence):
  values = {"policy.max_length": 1024, "policy.max_reply": 24, "policy.piece_lengths": (24, 1024)}
  bounds.check(values.items())
  with pytest.raises(ValueError, match=sentence):
    bounds.check((values | changes).items())


def test_keys_without_bounds_may_have_any_value():
  values = [("env.floor", -3), ("env.doors", ()), ("env.budget", math.inf), ("tasks.games", "")]
  bounds.check([("policy.windows", ()), ("train.lengths", ()), ("algorithm.clip_high", math.inf)])
  bounds.check([*values, ("rollout.window", -1), ("algorithm.base.entropy_coef", -0.01)])


@pytest.mark.parametrize("file", ["alfworld", "webshop", "deep_search"])
def test_bounds_are_of_existing_keys(file):
  known = dict(config.leaves(config.load(str(ROOT / "configs" / f"{file}.py"))))
  assert set(bounds.KEYS) <= set(known)


def test_every_command_with_a_config_checks_the_bounds():
  done = subprocess.run(
    [
      sys.executable, "launch/play.py", "--config=configs/alfworld.py",
      "--config.policy.slots=0",
    ],
    cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
  )  # fmt: skip
  assert done.returncode == 1
  assert done.stderr == "error: config.policy.slots is 0: it must be at least 1.\n"


@pytest.mark.parametrize("section", ["optimizer", "sft.optimizer"])
def test_a_decay_that_ends_before_the_warm_up_is_refused_by_every_command(section):
  warmup, decay = f"{section}.warmup_steps", f"{section}.decay_steps"
  with pytest.raises(ValueError, match=f"config.{decay} is 5 and warmup_steps is 8: the decay has"):
    bounds.check([(warmup, 8), (decay, 5)])
  for fine in (0, -1, 9):
    bounds.check([(warmup, 8), (decay, fine)])


def test_one_flag_makes_a_run_shorter_than_the_warm_up():
  made = config.load(str(ROOT / "configs" / "alfworld.py"))
  made.optimizer.decay_steps, made.num_steps = -1, 4
  bounds.check(config.leaves(made))
  settings.check(made, envs.find("alfworld"))
