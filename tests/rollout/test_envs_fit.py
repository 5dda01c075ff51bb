"""A context has a length: what is longer is reported before a run, or costs its episode."""

import functools
import pathlib
import re
import subprocess

import pytest
from scripted import Digging, ToyChat

from empg_jax import envs
from empg_jax.cli import dry_run
from empg_jax.config import config as configs
from empg_jax.loop import settings
from empg_jax.models import folder
from empg_jax.rollout import fitting, play

GAMES = pathlib.Path(__file__).parents[3] / "shared/data/alfworld/json_2.1.1.tar.zst"


def check(config):
  environment = envs.find(config.env.name)
  make_env = functools.partial(environment.make, **configs.arguments(config.env))
  tasks = environment.tasks("train", **config.tasks)
  chat, prompt = folder.chat(config.model.path, **config.chat), play.prompt(config, environment)
  fitting.check(config, chat, make_env, tasks, prompt)


@pytest.mark.parametrize(
  "name", ["alfworld", "alfworld:tiny-full", "webshop", "deep_search", "alfworld:tiny-dapo-empg"]
)
def test_a_presets_own_tasks_fit(name):
  check(configs.load(name))


@pytest.mark.parametrize("change, turn", [
  ({"tasks.games": "full"}, "first"), ({"rollout.window": 2}, "second"),
  ({"rollout.window": 0}, "second"), ({"rollout.window": 2, "tasks.games": "full"}, "first"),
])  # fmt: skip
def test_tasks_that_do_not_fit_are_refused_with_values_that_do(change, turn):
  config = configs.load("alfworld")
  config.policy.max_length, config.policy.max_reply = 72, 24
  config.update_from_flattened_dict(change)
  words = rf"^The {turn} turn of .* reads .*\.max_length 72 leaves 48 before a reply"
  with pytest.raises(ValueError, match=words) as refused:
    check(config)
  advised = re.search(r'max_length=(\d+) --config.pack.lengths="\(([\d, ]+)\)"', str(refused.value))
  config.policy.max_length = int(advised[1])
  config.pack.lengths = tuple(int(n) for n in advised[2].split(",") if n.strip())
  check(config)  # and the advice works
  settings.check(config, envs.find("alfworld"), devices=1)


@pytest.mark.skipif(not GAMES.exists(), reason="the official games are not beside the project")
def test_the_official_games_fit_the_preset_for_full_sized_games(tmp_path, monkeypatch):
  wanted = "json_2.1.1/train/pick_heat_then_place_in_recep-*-Fridge-*"
  subprocess.run(["tar", "--zstd", "-xf", GAMES, "-C", tmp_path, "--wildcards", wanted], check=True)
  monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
  config = configs.load("alfworld:tiny-full")
  config.tasks.games = "official"
  check(config)


def test_a_dry_run_says_so():
  config = configs.load("alfworld")
  config.policy.max_length = 72
  for window, begins in ((-1, ""), (2, "The second turn of small/train/")):
    config.rollout.window = window
    found = []
    dry_run._check_turns(config, envs.find("alfworld"), found)
    assert "".join(found).startswith(begins) and len(found) == bool(begins)


def test_an_environment_that_fails_is_left_to_the_rollout():
  config = configs.load("alfworld")
  config.policy.max_length = 72
  fitting.check(config, ToyChat(), lambda: Digging([]), ["lost", "lost", "1"], None)
  with pytest.raises(ValueError, match="^The first turn of 1x+ reads"):
    fitting.check(config, ToyChat(), lambda: Digging([]), ["lost", "1" + 60 * "x"], None)
