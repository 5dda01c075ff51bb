"""Any --config.KEY=VALUE sets a value of the config or is refused with a one-line error."""

import sys

from absl import flags
import damage
from hypothesis import given, settings, strategies as st
from ml_collections import config_flags
import pytest

from empg_jax import algorithms
from empg_jax.cli import command_line
from empg_jax.config import config as configs, lookup
from empg_jax.distributed import sharding
from empg_jax.loop import settings as checks
from empg_jax.training import setup

# config_flags imports a config's file in the way of Python before 3.12.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

HERE = "--config.mesh.data=1"  # the tests have more devices than a small batch has rows
FILES = ("configs/alfworld.py", "configs/webshop.py", "configs/deep_search.py:tiny")
KEYS = sorted({key for file in FILES for key, _ in configs.leaves(configs.load(file))})
TEXTS = st.one_of(
  st.sampled_from(
    [
      "",
      "0",
      "-1",
      "1",
      "1e9",
      "nan",
      "inf",
      "-inf",
      "True",
      "()",
      "(0,)",
      "(-1,)",
      "(1, 'a')",
      "((1,),)",
      "None",
      "x",
      "\n",
      "../x",
      "1" * 5000,
      "(" * 300,
      "__import__('os')",
      "[1]",
      "{}",
      "'",
      "0x10",
      "1_0",
      "9" * 30,
    ]
  ),  # fmt: skip
  st.text(max_size=8),
  st.integers().map(str),
  st.floats().map(str),
)
OVERRIDES = st.lists(
  st.tuples(st.sampled_from(KEYS) | st.text(max_size=6), TEXTS).map(
    "--config.{0[0]}={0[1]}".format
  ),
  min_size=1,
  max_size=2,
)


@pytest.fixture
def parse(monkeypatch):
  """A function from command-line arguments to the config."""

  def parse(*arguments):
    fresh = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, flag_values=fresh)
    flags.DEFINE_integer("verbosity", 0, "", flag_values=fresh)
    flags.DEFINE_multi_string("flagfile", [], "", flag_values=fresh)
    flags.DEFINE_string("undefok", "", "", flag_values=fresh)
    monkeypatch.setattr(flags, "FLAGS", fresh)
    argv = ["train.py", *arguments]
    monkeypatch.setattr(sys, "argv", argv)  # where config_flags looks for overrides
    command_line._parse_flags(argv, needs_config=True, takes_files=False)
    return fresh.config

  return parse


def make(config):
  """The checks of a run's config before anything is loaded."""
  environment = lookup.find("empg_jax.envs", config.env.name)
  checks.check(config, environment)
  environment.make(**configs.arguments(config.env))
  environment.tasks("train", **config.tasks)
  sharding.make_mesh(**config.mesh)
  algorithms.make(**config.algorithm.to_dict())
  setup.make_optimizer(config)
  return config


def test_the_configs_themselves_are_accepted(parse):
  for file in FILES:
    assert make(parse(f"--config={file}", HERE)).num_steps > 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--config", ""], "no config: give --config=configs/FILE.py"),
        (["--config", "--config"], "no config: give --config=configs/FILE.py"),
        (["--config=configs/alfworld.py", HERE, "--config.algorithm.base.aggregation="],
         "aggregation is '', but must be one of 'token_mean'"),
    ],
    ids=range(3),
)  # fmt: skip
def test_values_that_would_break_a_library_are_refused(parse, arguments, sentence):
  with pytest.raises(ValueError, match=sentence):
    make(parse(*arguments))


@settings(max_examples=100, suppress_health_check=["function_scoped_fixture"])
@given(file=st.sampled_from(FILES), overrides=OVERRIDES)
def test_every_override_is_taken_or_refused(parse, file, overrides):
  config = damage.answered(parse, f"--config={file}", HERE, *overrides)
  if config is not None:
    damage.answered(make, config)


@settings(max_examples=40, suppress_health_check=["function_scoped_fixture"])
@given(arguments=st.lists(st.text(max_size=8) | st.sampled_from(["--config", "-", "--", "--no"]),
                          max_size=3))  # fmt: skip
def test_every_command_line_is_taken_or_refused(parse, arguments):
  damage.answered(parse, "--config=configs/alfworld.py", *arguments)
  damage.answered(parse, *arguments)
