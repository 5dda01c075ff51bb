"""Drawn ALFWorld games are genuine, solvable and always the same."""

import importlib.util
import itertools
import json
import lzma
import os
import subprocess
import sys

import pytest

from empg_jax.envs import alfworld
from empg_jax.envs.alfworld import rooms
from empg_jax.envs.alfworld.embedded import is_won_by_walkthrough
from empg_jax.envs.alfworld.engine import Engine
from empg_jax.envs.alfworld.game import parse_game
from empg_jax.envs.alfworld.generate import draw, stream
from empg_jax.envs.alfworld.placement import LAMP, likelihood
from empg_jax.envs.alfworld.problem import game, name, sentence, write_official
from empg_jax.envs.alfworld.rooms import TASK_TYPES, TRAIN_ROOMS, UNSEEN_ROOMS, facts

ROOMS = {"train": TRAIN_ROOMS, "unseen": UNSEEN_ROOMS}


def some(size, rooms=TRAIN_ROOMS, count=90, seed=5):
  return list(itertools.islice(stream(seed, size, rooms), count))


@pytest.mark.parametrize("rooms", ROOMS)
@pytest.mark.parametrize("size", ["small", "full"])
def test_every_game_is_won_by_its_walkthrough(size, rooms):
  for spec in some(size, ROOMS[rooms]):
    assert is_won_by_walkthrough(game(spec)), spec


@pytest.mark.parametrize("size", ["small", "full"])
def test_the_task_types_come_in_turn_in_rooms_that_suit_them(size):
  specs = some(size)
  assert [spec.task for spec in specs] == list(itertools.islice(itertools.cycle(TASK_TYPES), 90))
  assert {spec.room for spec in specs} <= set(TRAIN_ROOMS)
  for spec in specs:
    kinds = {facts().rooms[spec.room].receptacles[i].type for i in spec.receptacles}
    if "heat" in spec.task:
      assert "Microwave" in kinds and spec.room <= 30
    if "cool" in spec.task:
      assert "Fridge" in kinds and spec.room <= 30
    if "clean" in spec.task:
      assert "SinkBasin" in kinds
    if "look" in spec.task:
      assert spec.target == LAMP and LAMP in {thing.type for thing in spec.things}
    else:
      assert spec.target in kinds


@pytest.mark.parametrize("size", ["small", "full"])
def test_objects_are_at_possible_places_and_none_is_at_its_target(size):
  for spec in some(size):
    receptacles = facts().rooms[spec.room].receptacles
    for thing in spec.things:
      holder = receptacles[thing.receptacle].type
      assert thing.receptacle in spec.receptacles
      assert likelihood(thing.type, holder) > 0
      assert thing.type != spec.object or holder != spec.target
    asked_for = sum(thing.type == spec.object for thing in spec.things)
    assert asked_for >= (2 if "two" in spec.task else 1)


def test_small_games_are_small_and_full_games_have_the_whole_room():
  for spec in some("small"):
    objects = [thing for thing in spec.things if thing.type != LAMP]
    assert 5 <= len(spec.receptacles) <= 8
    assert 3 <= len(objects) <= 8
    spots = {facts().rooms[spec.room].receptacles[i].location for i in spec.receptacles}
    assert len(spots) == len(spec.receptacles)  # each is reached by a `go to` of its own
  for spec in some("full"):
    assert len(spec.receptacles) == len(facts().rooms[spec.room].receptacles)


@pytest.mark.parametrize("size", ["small", "full"])
def test_a_game_depends_on_seed_and_index_alone(size):
  specs = some(size, count=30)
  assert specs == some(size, count=30)
  assert specs[17] == draw(5, 17, size, TRAIN_ROOMS, specs[17].task)
  assert len({spec.content() for spec in specs + some(size, count=30, seed=6)}) == 60
  assert [game(spec) for spec in specs] == [game(spec) for spec in specs]


def test_the_same_games_come_from_another_process():
  code = "from empg_jax.envs.alfworld.generate import draw; print(draw(1, 2, 'full'))"
  env = os.environ | {"PYTHONHASHSEED": "7"}
  seen = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
  )
  assert seen.stdout.strip() == str(draw(1, 2, "full"))


def test_a_game_names_its_task_and_its_receptacles():
  spec = draw(0, 0, "small", task="pick_heat_then_place_in_recep")
  intro = Engine(parse_game(game(spec))).intro
  assert intro.endswith(f"Your task is to: {sentence(spec)}.")
  listed = intro.split("you see ")[1].split(".\n")[0]
  assert listed.count("a ") >= len(spec.receptacles)
  assert name(spec, "trial_1") == (
    f"pick_heat_then_place_in_recep-{spec.object}-None-{spec.target}-{spec.room}/trial_1"
  )


def test_bad_arguments_are_named():
  with pytest.raises(ValueError, match="'huge'"):
    draw(0, 0, "huge")
  with pytest.raises(ValueError, match=r"\[424\].*pick_heat"):
    draw(0, 0, "small", [424], "pick_heat_then_place_in_recep")


def test_the_facts_cover_the_120_rooms():
  assert len(facts().rooms) == 120 and len(TRAIN_ROOMS) == 116
  assert not set(TRAIN_ROOMS) & set(UNSEEN_ROOMS)
  for room in facts().rooms.values():
    assert len({receptacle.id for receptacle in room.receptacles}) == len(room.receptacles)


@pytest.mark.skipif(importlib.util.find_spec("alfworld") is None, reason="needs alfworld")
def test_the_facts_are_remade_from_the_alfworld_package():
  shipped = json.loads(lzma.decompress(rooms.FACTS_FILE.read_bytes()))
  assert json.loads(json.dumps(rooms.derive())) == shipped


@pytest.mark.skipif(importlib.util.find_spec("alfworld"), reason="alfworld is installed")
def test_remaking_the_facts_without_alfworld_says_what_to_install():
  with pytest.raises(ModuleNotFoundError, match="pip install alfworld"):
    rooms.derive()


@pytest.mark.skipif(importlib.util.find_spec("textworld") is None, reason="needs textworld")
def test_the_official_engine_loads_and_plays_official_folders(tmp_path, monkeypatch):
  specs = some("small", count=3) + some("full", count=6)[3:]  # one of each task type
  for i, spec in enumerate(specs):
    write_official(spec, f"trial_{i}", tmp_path / "json_2.1.1" / "train")
  monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
  tasks = alfworld.tasks("train", games="official")
  assert len(tasks) == 6
  env = alfworld.AlfWorld(backend="textworld")
  for task in tasks:
    env.reset(task)
    steps = [env.step(command) for command in alfworld.read_game(task)["walkthrough"]]
    assert [step.info["won"] for step in steps] == [False] * (len(steps) - 1) + [True]
