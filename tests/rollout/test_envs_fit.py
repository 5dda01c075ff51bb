"""A policy reads in buckets: what is longer is reported before a run, or costs its episode."""

import functools
import pathlib
import re
import subprocess

import jax
import pytest
from scripted import Digging, ScriptedPolicy, ToyChat

from empg_jax import envs
from empg_jax.cli import dry_run
from empg_jax.config import config as configs
from empg_jax.models import folder
from empg_jax.rollout import fitting, play
from empg_jax.rollout.actor import collect

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
  config.update_from_flattened_dict(change)
  words = f"^The {turn} turn of .* reads .*largest of .* is 48"
  with pytest.raises(ValueError, match=words) as refused:
    check(config)
  advised = re.search(r'--config.policy.piece_lengths="\(([\d, ]+)\)"', str(refused.value))[1]
  config.policy.piece_lengths = tuple(map(int, advised.split(",")))
  check(config)  # and the advice works


@pytest.mark.skipif(not GAMES.exists(), reason="the official games are not beside the project")
def test_the_official_games_fit_the_preset_for_full_sized_games(tmp_path, monkeypatch):
  wanted = "json_2.1.1/train/pick_heat_then_place_in_recep-*-Fridge-*"
  subprocess.run(["tar", "--zstd", "-xf", GAMES, "-C", tmp_path, "--wildcards", wanted], check=True)
  monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
  config = configs.load("alfworld:tiny-full")
  config.tasks.games = "official"
  check(config)
  config = configs.load("alfworld")
  config.tasks.games = "official"
  with pytest.raises(ValueError, match="^The first turn of official/train.* is 48: add a larger"):
    check(config)


def test_a_dry_run_says_so():
  config = configs.load("alfworld")
  for window, begins in ((-1, ""), (2, "The second turn of small/train/")):
    config.rollout.window = window
    found = []
    dry_run._check_turns(config, envs.find("alfworld"), found)
    assert "".join(found).startswith(begins) and len(found) == bool(begins)


def test_an_environment_that_fails_is_left_to_the_rollout():
  config = configs.load("alfworld")
  fitting.check(config, ToyChat(), lambda: Digging([]), ["lost", "lost", "1"], None)
  with pytest.raises(ValueError, match="^The first turn of 1x+ reads"):
    fitting.check(config, ToyChat(), lambda: Digging([]), ["lost", "1" + 60 * "x"], None)


def played(max_piece, tasks, **options):
  policy = ScriptedPolicy(slots=2)
  policy.max_piece = max_piece
  return collect(
    policy, ToyChat(), lambda: Digging([]), tasks, group_size=3, max_turns=6,
    key=jax.random.key(0), **options,
  )  # fmt: skip


def test_envs_first_observation_that_is_too_long_costs_its_episodes():
  long = "1" + 70 * "x"
  episodes = played(75, ["1", long])
  for episode in episodes:
    assert (episode.ended == "aborted") == (episode.task == long)
  assert episodes[3].info["fault"] == "opening"
  assert (
    "A turn would read 78 tokens, and the largest of policy.piece_lengths is 75: add a"
    in (episodes[3].info["error"])
  )


def test_envs_later_observation_that_is_too_long_ends_its_episode():
  # The answer to a reply without an action is longer than 40.
  whole, cut = played(None, ["9"]), played(40, ["9"])
  for before, after in zip(whole, cut):
    invalid = [turn.action is None for turn in before.turns[:-1]]
    assert (after.ended == "length") == any(invalid)
    if any(invalid):
      assert len(after.turns) == invalid.index(True) + 1
      assert "the largest of policy.piece_lengths is 40" in after.info["error"]
  assert {episode.ended for episode in cut} >= {"length"}
