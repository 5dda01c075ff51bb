"""A name on the command line replaces the section of an algorithm or environment."""

import sys

import pytest

from empg_jax import algorithms
from empg_jax.cli import makers
from empg_jax.config import config as configs, presets

BEST_OF = """
from empg_jax.algorithms import grpo

def make(*, n: int, share: float = 0.5, clip_low: float = 0.1, kl_coef: float = 0.25, seen=None):
  return grpo.make(clip_low=clip_low, kl_coef=kl_coef)
"""
AROUND = "def make(base, *, strength=2.0):\n  return base\n"
COIN = """
INSTRUCTIONS = "Call the coin."

class Coin:
  def __init__(self, bias: float, *, sides: int = 2):
    pass

make = Coin
task_type = str

def tasks(split, *, count=9):
  return [str(number) for number in range(count)]
"""


@pytest.fixture(autouse=True)
def my_lab(tmp_path, monkeypatch):
  """Modules of a user's own."""
  (tmp_path / "my_lab").mkdir()
  for name, text in dict(best_of=BEST_OF, around=AROUND, coin=COIN).items():
    (tmp_path / "my_lab" / f"{name}.py").write_text(text)
  monkeypatch.syspath_prepend(str(tmp_path))
  yield
  for module in [name for name in sys.modules if name.split(".")[0] == "my_lab"]:
    del sys.modules[module]


def named(preset, **given):
  """The config of a preset in which keys are given, `algorithm__name` and so on."""
  config = configs.load(preset)
  makers.replace_makers(config, {key.replace("__", "."): value for key, value in given.items()})
  return config


def test_a_users_algorithm_has_its_own_defaults():
  section = named("alfworld", algorithm__name="my_lab.best_of").algorithm.to_dict()
  assert section == dict(name="my_lab.best_of", share=0.5, clip_low=0.1, kl_coef=0.25)


def test_an_argument_without_default_can_be_given():
  given = dict(algorithm__name="my_lab.best_of", algorithm__n="4")
  section = named("alfworld", **given).algorithm.to_dict()
  assert section == dict(name="my_lab.best_of", n=0, share=0.5, clip_low=0.1, kl_coef=0.25)


def test_a_method_has_the_values_of_its_preset():
  for method in presets.METHODS:
    if method.endswith(("-empg", "-aem")):
      continue
    for file in ("alfworld", "webshop"):
      there = named(file, algorithm__name=method.replace("-", "_")).algorithm
      wanted = configs.load(f"{file}:tiny-{method}").algorithm
      if method == "grpo":  # the base of EMPG, whose wrapper is removed
        wanted = configs.load(file).algorithm.base
      assert there.to_dict() == wanted.to_dict(), method


def test_empg_wraps_the_algorithm_and_another_wrapper_keeps_its_base():
  before = configs.load("alfworld:tiny-grpo").algorithm.to_dict()
  around = named("alfworld:tiny-grpo", algorithm__name="empg").algorithm.to_dict()
  assert around == dict(name="empg", k=1.0, k_future=1.0, zeta=0.05, base=before)
  base = configs.load("alfworld").algorithm.base.to_dict()
  for name, arguments in {"aem": dict(k=1.0), "my_lab.around": dict(strength=2.0)}.items():
    section = named("alfworld", algorithm__name=name).algorithm.to_dict()
    assert section == dict(name=name, base=base, **arguments)
  algorithms.make(**section)


def test_the_base_is_replaced_in_place():
  section = named("alfworld", algorithm__base__name="dapo").algorithm
  assert section.to_dict() == configs.load("alfworld:tiny-dapo-empg").algorithm.to_dict()
  both = dict(algorithm__name="aem", algorithm__base__name="dapo")
  section = named("alfworld", **both).algorithm
  assert section.to_dict() == configs.load("alfworld:tiny-dapo-aem").algorithm.to_dict()


def test_a_change_of_method_leaves_no_invalid_keys():
  for method in presets.METHODS:
    for name in ("grpo", "gigpo", "sampo"):
      section = named(f"alfworld:tiny-{method}", algorithm__name=name).algorithm
      algorithms.make(**section.to_dict())


def test_an_environment_brings_its_tasks_and_instructions():
  config = named("alfworld:smollm2-135m", env__name="my_lab.coin", env__bias="0.5")
  assert config.env.to_dict() == dict(name="my_lab.coin", bias=0.0, sides=2)
  assert config.tasks.to_dict() == dict(count=9)
  assert config.chat.instructions == "Call the coin."
  config = named("alfworld", env__name="webshop")
  assert config.env.reward == "score" and "backend" not in config.env  # webshop.make's defaults
  assert config.tasks == configs.load("webshop").tasks and config.chat.instructions == ""


def test_the_same_name_changes_nothing():
  config = named("deep_search", env__name="deep_search", algorithm__base__name="grpo")
  assert config == configs.load("deep_search")


def test_an_unknown_name_is_refused_with_the_known_ones():
  with pytest.raises(ValueError, match="no module 'gropo': did you mean 'grpo'"):
    named("alfworld", algorithm__name="gropo")
  with pytest.raises(ValueError, match="no module 'webshopp': did you mean 'webshop'"):
    named("alfworld", env__name="webshopp")
