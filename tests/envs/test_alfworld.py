"""ALFWorld as an environment: texts, episodes, tasks, and what it says of bad input."""

import json
import pickle
import random
import sys

import pytest

from empg_jax.envs import alfworld
from empg_jax.envs.alfworld import AlfWorld, task_type, tasks
from empg_jax.envs.alfworld.game import parse_game

FRIDGE, APPLE, KNIFE = "fridge_bar_1", "apple_bar_1", "knife_bar_1"
PROBLEM = f"""
(define (problem plan) (:domain alfred) (:objects agent1 - agent)
(:init
  (receptacleType {FRIDGE} FridgeType) (receptacleType table_bar_1 DiningTableType)
  (receptacleType table_bar_2 DiningTableType) (openable {FRIDGE})
  (objectType {APPLE} AppleType) (objectType {KNIFE} KnifeType)
  (canContain FridgeType AppleType) (canContain DiningTableType AppleType)
  (pickupable {APPLE}) (pickupable {KNIFE}) (coolable {APPLE}) (sliceable {APPLE})
  (atLocation agent1 loc_bar_0)
  (inReceptacle {APPLE} table_bar_1) (inReceptacle {KNIFE} table_bar_1)
  (receptacleAtLocation {FRIDGE} loc_bar_1) (receptacleAtLocation table_bar_1 loc_bar_2)
  (receptacleAtLocation table_bar_2 loc_bar_3)
  (objectAtLocation {APPLE} loc_bar_2) (objectAtLocation {KNIFE} loc_bar_2)
)
(:goal (and (exists (?r - receptacle) (exists (?o - object) (and (coolable ?o)
  (objectType ?o AppleType) (receptacleType ?r DiningTableType) (isCool ?o)
  (inReceptacle ?o ?r)))))))
"""
GAME = {
  "pddl_problem": PROBLEM,
  "grammar": '"rhs": "Your task is to: put a cool apple in diningtable."',
  "solvable": True,
  "walkthrough": [],
}
TASK = "official/train/pick_cool_then_place_in_recep-Apple-None-DiningTable-1/trial_1"


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """An ALFWORLD_DATA with one game, TASK."""
  monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
  path = tmp_path / "json_2.1.1" / TASK.removeprefix("official/") / "game.tw-pddl"
  path.parent.mkdir(parents=True)
  path.write_text(json.dumps(GAME))
  return path.parents[3]


@pytest.fixture
def env(folder):
  return AlfWorld()


def test_an_episode_reads_like_alfworld(env):
  assert env.reset(TASK) == (
    "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room. Looking"
    " quickly around you, you see a fridge 1, a table 2, and a table 1.\n\nYour task is"
    " to: put a cool apple in diningtable."
  )
  for action, observation in (
    ("look", "You are in the middle of a room. Looking quickly around you, you see nothing."),
    ("inventory", "You are not carrying anything."),
    ("take apple 1 from table 2", "Nothing happens."),
    ("go to table 2", "You arrive at table 2. On the table 2, you see a apple 1, and a knife 1."),
    ("look", "You are facing the table 2. Next to it, you see nothing."),
    ("take knife 1 from table 2", "You pick up the knife 1 from the table 2."),
    ("slice apple 1 with knife 1", "You sliced the apple 1 with the knife 1."),
    ("move knife 1 to table 2", "Nothing happens."),
    ("inventory", "You are carrying: a knife 1."),
    ("go to fridge 1", "You arrive at fridge 1. The fridge 1 is closed."),
    ("open fridge 1", "You open the fridge 1. The fridge 1 is open. In it, you see nothing."),
    ("close fridge 1", "You close the fridge 1."),
  ):
    step = env.step(action)
    assert step == (observation, 0.0, False, step.info)
    assert not step.info["won"]
    assert step.info["admissible_commands"] == sorted(step.info["admissible_commands"])


def test_the_goal_gives_reward_1_and_ends_the_episode(env):
  env.reset(TASK)
  for action in (
    "go to table 2",
    "take apple 1 from table 2",
    "go to fridge 1",
    "cool apple 1 with fridge 1",
    "go to table 1",
  ):
    assert env.step(action)[1:3] == (0.0, False)
  step = env.step("move apple 1 to table 1")
  assert (step.reward, step.done, step.info["won"]) == (1.0, True, True)
  with pytest.raises(ValueError, match=r"episode has ended: call reset\(task\)"):
    env.step("look")
  env.reset(TASK)
  assert env.step("go to table 1").observation.endswith("you see nothing.")


def test_what_can_be_done_is_shown_at_the_end_of_each_observation_until_the_goal(folder):
  plain, shown = AlfWorld(), AlfWorld(show_commands=True)
  assert shown.reset(TASK) == plain.reset(TASK) + (
    "\n\nCommands: go to fridge 1, go to table 1, go to table 2, inventory, look."
  )
  for action in (
    "go to table 2",
    "take apple 1 from table 2",
    "nonsense",
    "go to fridge 1",
    "cool apple 1 with fridge 1",
    "go to table 1",
  ):
    step, listed = plain.step(action), shown.step(action)
    commands = ", ".join(c for c in step.info["admissible_commands"] if c != "help")
    assert listed.observation == f"{step.observation}\n\nCommands: {commands}."
    assert listed[1:] == step[1:]
  assert shown.step("move apple 1 to table 1") == plain.step("move apple 1 to table 1")


def test_admissible_commands_are_known_before_the_first_step(env):
  env.reset(TASK)
  assert env.admissible_commands == [
    "go to fridge 1",
    "go to table 1",
    "go to table 2",
    "help",
    "inventory",
    "look",
  ]


@pytest.mark.parametrize("games", ["small", "full"])
def test_play_is_deterministic_picklable_and_reset_starts_over(games):
  rng = random.Random(games)
  env = AlfWorld()
  for task in rng.sample(tasks("valid_seen", games=games), 6):
    start = env.reset(task), env.admissible_commands
    twin, actions, steps = AlfWorld(), [], []
    twin.reset(task)
    for _ in range(30):
      actions.append(rng.choice(env.admissible_commands))
      steps.append(env.step(actions[-1]))
      assert twin.step(actions[-1]) == steps[-1]
      if len(steps) % 10 == 5:
        twin = pickle.loads(pickle.dumps(twin))
      if steps[-1].done:
        break
    assert (env.reset(task), env.admissible_commands) == start
    assert [env.step(action) for action in actions] == steps


def test_task_lists_are_stable_and_typed():
  for games in ("small", "full"):
    for split in alfworld.SPLITS:
      names = tasks(split, games=games)
      assert names == tasks(split, games=games)
      assert len(set(names)) == len(names)
      assert all(name.startswith(f"{games}/{split}/") for name in names)
      assert {task_type(name) for name in names} == set(alfworld.TASK_TYPES)


def test_official_games_leave_out_what_alfworld_leaves_out(folder):
  for name, change in (
    ("pick_heat_then_place_in_recep-PotatoSliced-None-Fridge-1", {}),
    ("pick_and_place_with_movable_recep-Apple-Bowl-Fridge-1", {}),
    ("pick_and_place_simple-Apple-None-Fridge-1", {"solvable": False}),
    ("pick_and_place_simple-Apple-None-Fridge-2", {"solvable": False, "walkthrough": 999 * ["go"]}),
  ):
    path = folder / "train" / name / "trial_1" / "game.tw-pddl"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({**GAME, **change}))
  name = "pick_and_place_simple-Apple-None-Fridge-3"
  path = folder / "train" / name / "trial_1" / "game.tw-pddl"
  path.parent.mkdir(parents=True)
  path.write_text(json.dumps(GAME | {"solvable": False}, separators=(",", ":")))
  (folder / "train" / "look_at_obj_in_light-Book-None-DeskLamp-301" / "trial_1").mkdir(parents=True)
  assert tasks("train", games="official") == [TASK]


def test_a_game_that_is_replaced_is_read_anew(folder, env, tmp_path, monkeypatch):
  env.reset(TASK)
  other = tmp_path / "other"
  path = other / "json_2.1.1" / TASK.removeprefix("official/") / "game.tw-pddl"
  path.parent.mkdir(parents=True)
  path.write_text(json.dumps({**GAME, "grammar": '"Your task is to: do else."'}))
  monkeypatch.setenv("ALFWORLD_DATA", str(other))
  assert env.reset(TASK).endswith("Your task is to: do else.")


def test_stepping_without_an_episode_is_an_error():
  env = AlfWorld()
  with pytest.raises(ValueError, match=r"no episode yet: call reset\(task\)"):
    env.step("look")
  env.reset(tasks("train")[0])
  env.close()
  env.close()
  with pytest.raises(ValueError, match="no episode yet"):
    env.step("look")


def test_unknown_names_are_reported_with_the_known_ones(env):
  with pytest.raises(ValueError, match="split must be one of train, .*, got 'test'"):
    tasks("test")
  with pytest.raises(ValueError, match="games must be one of small, .*, got 'tiny'"):
    tasks("train", games="tiny")
  with pytest.raises(ValueError, match="backend must be one of native, .*, got 'x'"):
    AlfWorld(backend="x")
  with pytest.raises(ValueError, match="first part must be one of small, .*, got 'webshop'"):
    env.reset("webshop/train/1")
  for task in ("small/train/pick_none/trial_1", "small/train/", "small/train"):
    with pytest.raises(ValueError, match=rf"there is no task '{task}': take one from"):
      AlfWorld().reset(task)
  with pytest.raises(FileNotFoundError, match="no game .*pick_none.*: restore it or"):
    env.reset("official/train/pick_none/trial_1")
  with pytest.raises(ValueError, match="second part must be one of train, .*got 'dev'"):
    env.reset("official/dev/x/trial_1")
  with pytest.raises(ValueError, match="of unknown type 'sing': want one of"):
    task_type("small/train/sing-Song/trial_1")


def test_missing_official_games_are_reported_with_the_remedy(tmp_path, monkeypatch):
  monkeypatch.delenv("ALFWORLD_DATA", raising=False)
  with pytest.raises(FileNotFoundError, match="set ALFWORLD_DATA to the folder"):
    tasks("train", games="official")
  monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
  with pytest.raises(FileNotFoundError, match="no folder .*valid_seen: set ALFWORLD_DATA"):
    tasks("valid_seen", games="official")
  (tmp_path / "json_2.1.1" / "valid_seen").mkdir(parents=True)
  with pytest.raises(FileNotFoundError, match="holds no game.tw-pddl: set ALFWORLD_DATA"):
    tasks("valid_seen", games="official")


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (json.dumps(GAME)[:200], "cannot read the game .*game.tw-pddl .*: restore or delete"),
    ("[]", r"cannot read the game .*no JSON object.*: restore or delete"),
    ('{"pddl_problem": 1}', "must be a dict with a text under 'pddl_problem'"),
    ("{}", "must be a dict with a text under 'pddl_problem'"),
    (json.dumps({**GAME, "grammar": ""}), "no sentence 'Your task is to: ..'"),
    (json.dumps({**GAME, "pddl_problem": PROBLEM[:300]}), r"no \(:init ..\) followed by"),
    (
      json.dumps({**GAME, "pddl_problem": PROBLEM.replace("atLocation agent1", "at")}),
      "must say where the agent starts",
    ),
    (
      json.dumps({**GAME, "pddl_problem": PROBLEM.replace("receptacleAtLocation", "at")}),
      "where the receptacles are",
    ),
    (
      json.dumps({**GAME, "pddl_problem": PROBLEM.replace("?o AppleType", "")}),
      "goal is none of ALFWorld's six",
    ),
  ],
)
def test_broken_game_files_are_reported_in_one_sentence(folder, env, content, message):
  path = folder / TASK.removeprefix("official/") / "game.tw-pddl"
  path.write_text(content)
  with pytest.raises(ValueError, match=message) as e:
    env.reset(TASK)
  assert str(e.value).startswith(f"cannot play '{TASK}': ")


def test_parsed_games_cannot_be_changed():
  game = parse_game(GAME)
  with pytest.raises(AttributeError):
    game.start = "loc_bar_1"


def test_backend_textworld_without_the_extra_says_what_to_install(monkeypatch):
  monkeypatch.setitem(sys.modules, "textworld", None)
  monkeypatch.delitem(sys.modules, "empg_jax.envs.alfworld._textworld", raising=False)
  with pytest.raises(ImportError, match=r"pip install 'empg-jax\[textworld\]'"):
    AlfWorld(backend="textworld")
