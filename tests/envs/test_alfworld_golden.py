"""The native engine against the real TextWorld: recorded, live, and on the real games."""

import collections
from collections.abc import Iterator
import contextlib
import importlib.util
import itertools
import json
import lzma
import os
import pathlib
import pickle
import random
import runpy
import shutil
import subprocess
import sys
import tarfile
from typing import BinaryIO

import pytest

from empg_jax.envs import alfworld
from empg_jax.envs.alfworld import AlfWorld, task_type, tasks
from empg_jax.envs.alfworld.engine import Engine
from empg_jax.envs.alfworld.game import parse_game

ROOT = pathlib.Path(__file__).parents[2]
RECORDER = runpy.run_path(str(ROOT / "tests" / "golden" / "make_alfworld_traces.py"))
REAL_GAMES = ROOT.parent / "shared" / "data" / "alfworld" / "json_2.1.1.tar.zst"


@pytest.fixture(scope="module")
def recording() -> dict:
  return json.loads(lzma.decompress(RECORDER["FILE"].read_bytes()))


def test_native_engine_answers_as_textworld_did(recording, tmp_path, monkeypatch):
  RECORDER["write_games"](recording["games"], tmp_path)
  monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
  env = AlfWorld()
  for episode in recording["episodes"]:
    assert env.reset(episode["task"]) == episode["observation"]
    assert env.admissible_commands == episode["commands"]
    for action, observation, reward, done, commands in episode["steps"]:
      step = env.step(action)
      assert step.observation == observation, (episode["task"], action)
      assert (step.reward, step.done, step.info["won"]) == (reward, done, done)
      assert step.info["admissible_commands"] == commands, (episode["task"], action)


def test_recording_holds_every_task_type_every_verb_and_wins(recording):
  episodes = recording["episodes"]
  assert {task_type(e["task"]) for e in episodes} == set(alfworld.TASK_TYPES)
  won = {task_type(e["task"]) for e in episodes if e["steps"][-1][3]}
  assert won == set(alfworld.TASK_TYPES)
  verbs = collections.Counter(
    action.split()[0]
    for e in episodes
    for action, answer, *_ in e["steps"]
    if action.strip() and answer != "Nothing happens."
  )
  assert set(verbs) == RECORDER["VERBS"] - {"dance"}
  assert min(verbs.values()) >= 2


@pytest.mark.filterwarnings("ignore")  # TextWorld's own
def test_backends_agree_on_random_play():
  packages = ("textworld", "alfworld", "fast_downward")
  if not all(map(importlib.util.find_spec, packages)):
    pytest.skip("needs the official engine: pip install 'empg-jax[textworld]'")
  before = sys.argv, os.environ.get("ALFWORLD_DATA")
  native, official = AlfWorld(), AlfWorld(backend="textworld")
  rng = random.Random(0)
  for task in rng.sample(tasks("valid_unseen"), 3):
    plan = list(alfworld.read_game(task)["walkthrough"])
    assert native.reset(task) == official.reset(task)
    assert native.admissible_commands == official.admissible_commands
    for i in range(30):
      if i == 5:
        official = pickle.loads(pickle.dumps(official))
      action = RECORDER["choose"](rng, native.admissible_commands, plan)
      step = native.step(action)
      assert step == official.step(action), (task, action)
      if step.done:
        break
  assert (sys.argv, os.environ.get("ALFWORLD_DATA")) == before


@contextlib.contextmanager
def unpacked() -> Iterator[BinaryIO]:
  """The archive of the real games, decompressed."""
  if not REAL_GAMES.exists():
    pytest.skip(f"the real games are not there: {REAL_GAMES}")
  if shutil.which("zstd"):
    command = ["zstd", "-dc", REAL_GAMES]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
      yield process.stdout
  else:
    zstandard = pytest.importorskip("zstandard", reason="needs zstd or zstandard")
    with REAL_GAMES.open("rb") as f, zstandard.ZstdDecompressor().stream_reader(f) as g:
      yield g


def real_games() -> Iterator[tuple[str, bytes]]:
  """Unpacks the real games: <split>/<type-..>/<trial> and what the game's file holds."""
  with unpacked() as archive, tarfile.open(fileobj=archive, mode="r|") as tar:
    for member in tar:
      path = pathlib.PurePath(member.name)
      if path.name == "game.tw-pddl":
        yield "/".join(path.parts[-4:-1]), tar.extractfile(member).read()


def test_all_real_games_are_won_by_their_walkthroughs():
  types, lost = collections.Counter(), []
  for name, content in real_games():
    types[task_type(f"official/{name}")] += 1
    game = json.loads(content)
    if not _is_won_by_walkthrough(Engine(parse_game(game)), game["walkthrough"]):
      lost.append(name)
  assert lost == []
  assert types == {
    "pick_and_place_simple": 825,
    "look_at_obj_in_light": 321,
    "pick_clean_then_place_in_recep": 677,
    "pick_heat_then_place_in_recep": 475,
    "pick_cool_then_place_in_recep": 558,
    "pick_two_obj_and_place": 837,
  }


def test_real_games_are_played_from_the_official_layout(tmp_path, monkeypatch):
  monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
  seen = (game for game in real_games() if game[0].startswith("valid_seen/"))
  for name, content in itertools.islice(seen, 140):
    path = tmp_path / "json_2.1.1" / name / "game.tw-pddl"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
  names = tasks("valid_seen", games="official")
  assert len(names) == 140
  env = AlfWorld()
  for task in names:
    env.reset(task)
    *steps, last = map(env.step, alfworld.read_game(task)["walkthrough"])
    assert (last.reward, last.done) == (1.0, True)
    assert all((step.reward, step.done) == (0.0, False) for step in steps)


def _is_won_by_walkthrough(engine: Engine, walkthrough: list[str]) -> bool:
  for command in walkthrough:
    if command not in engine.commands:
      return False
    engine.step(command)
  return engine.won()
