"""The games that ship with the package."""

from collections import Counter
import json
import pickle

import pytest

from empg_jax.envs.alfworld import embedded
from empg_jax.envs.alfworld.embedded import SETS, SPLITS, is_won_by_walkthrough, load
from empg_jax.envs.alfworld.rooms import TASK_TYPES, TRAIN_ROOMS, UNSEEN_ROOMS

EVERY = [(games, split) for games in SETS for split in SPLITS]


@pytest.mark.parametrize(("games", "split"), EVERY)
def test_each_split_has_all_task_types_in_its_own_rooms(games, split):
  specs = load(games, split).specs.values()
  assert len(specs) == {"train": 2000, "valid_seen": 140, "valid_unseen": 134}[split]
  assert set(Counter(spec.task for spec in specs)) == set(TASK_TYPES)
  rooms = {spec.room for spec in specs}
  assert rooms <= set(UNSEEN_ROOMS if split == "valid_unseen" else TRAIN_ROOMS)


def test_no_two_games_are_alike():
  contents = Counter(
    spec.content() for games, split in EVERY for spec in load(games, split).specs.values()
  )
  assert len(contents) == 2 * (2000 + 140 + 134)
  assert len(embedded.validation_contents()) == 2 * (140 + 134)


@pytest.mark.parametrize(("games", "split"), EVERY)
def test_embedded_games_are_won_by_their_walkthroughs(games, split):
  records = load(games, split)
  keys = list(records)[:: 8 if split == "train" else 1]  # the command that makes them tries all
  assert [key for key in keys if not is_won_by_walkthrough(records[key])] == []


def test_together_they_take_less_than_3_mb():
  files = list(embedded.FOLDER.glob("*.xz"))
  assert len(files) == 3
  assert sum(file.stat().st_size for file in files) < 3e6


def test_the_documented_command_makes_the_same_games():
  made = embedded.make()
  for games in SETS:
    assert json.loads(json.dumps(made[games])) == embedded._read(games)


def test_names_are_stable():
  names = list(load("small", "train"))
  assert names == list(load("small", "train")) and len(set(names)) == 2000
  assert all(key.split("-")[0] in TASK_TYPES for key in names)
  assert names[0].endswith("/trial_G00000000")
  assert set(load("small", "valid_seen")).isdisjoint(names)


def test_a_loaded_set_can_be_pickled():
  games = load("small", "valid_seen")
  copy = pickle.loads(pickle.dumps(games))
  key = next(iter(games))
  assert copy[key] == games[key]
  assert {"pddl_problem", "grammar", "walkthrough"} <= set(games[key])


def test_unknown_sets_and_splits_are_named():
  with pytest.raises(ValueError, match="'huge'"):
    load("huge", "train")
  with pytest.raises(ValueError, match="'test'.*train"):
    load("small", "test")
  with pytest.raises(KeyError):
    load("small", "train")["no such game"]
