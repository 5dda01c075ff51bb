"""The expert wins by what it reads, and its demonstrations are fit to learn from."""

import itertools
import random

import pytest

from empg_jax.envs.alfworld.demos import MAX_TURNS, demonstrations
from empg_jax.envs.alfworld.embedded import SETS, SPLITS, load, validation_contents
from empg_jax.envs.alfworld.engine import Engine
from empg_jax.envs.alfworld.expert import Expert
from empg_jax.envs.alfworld.game import parse_game
from empg_jax.envs.alfworld.generate import stream
from empg_jax.envs.alfworld.problem import game, name


def play(record, seed):
  """The expert's moves and whether they won within the turns allowed."""
  engine, expert, moves = Engine(parse_game(record)), Expert(random.Random(seed)), []
  observation = engine.intro
  while len(moves) < MAX_TURNS and not engine.won():
    moves.append(expert.act(observation))
    observation = engine.step(moves[-1].action)
  return moves, engine.won()


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("games", SETS)
def test_the_expert_wins_at_least_95_percent(games, split):
  records = load(games, split)
  keys = list(records)[:: 16 if split == "train" else 1]
  won = sum(play(records[key], seed)[1] for seed, key in enumerate(keys))
  assert won >= 0.95 * len(keys)


def test_thoughts_say_what_is_left_to_do():
  spec = next(s for s in stream(0, "small") if s.task == "pick_heat_then_place_in_recep")
  moves, won = play(game(spec), 0)
  object, target = spec.object.lower(), spec.target.lower()
  assert won
  plan = [thought for thought, _ in itertools.groupby(move.thought for move in moves)]
  assert plan[0] == f"find {object} heat {target}"
  assert plan[1].startswith(f"take {object} ") and plan[1].endswith(f" heat {target}")
  assert plan[2].startswith(f"heat {object} ") and plan[2].endswith(f" {target}")
  assert plan[3].startswith(f"put {object} ") and plan[3].endswith(f" {target}")
  assert len(plan) == 4


def test_thoughts_are_at_most_five_words_of_the_texts():
  for demo in itertools.islice(demonstrations(4, "small"), 30):
    read = ""
    for turn in demo.turns:
      read += turn.observation.replace(".", " ").replace(",", " ").replace("\n", " ") + " "
      words = turn.thought.split()
      assert len(words) <= 5
      own = {"find", "take", "put", "drop", "use", "heat", "cool", "clean", "two", "second"}
      assert all(f" {word} " in read or word in own for word in words), turn


def test_the_expert_goes_on_when_something_else_was_played():
  spec = next(s for s in stream(0, "small") if s.task == "pick_two_obj_and_place")
  engine, expert = Engine(parse_game(game(spec))), Expert(random.Random(0))
  observation, played, rng = engine.intro, None, random.Random(0)
  for turn in range(MAX_TURNS):
    move = expert.act(observation, played)
    played = rng.choice(sorted(engine.commands)) if turn % 3 == 0 else move.action
    observation = engine.step(played)
    if engine.won():
      break
  assert engine.won()


def test_a_text_without_a_task_is_named():
  with pytest.raises(ValueError, match="state one of ALFWorld's tasks"):
    Expert(random.Random(0)).act("You see a cabinet 1. Your task is to: sing.")


@pytest.mark.parametrize("size", SETS)
def test_demonstrations_replay_to_the_same_texts(size):
  drawn = enumerate(itertools.islice(stream(3, size), 40))
  specs = {name(spec, f"trial_D{i:08d}"): spec for i, spec in drawn}
  for demo in itertools.islice(demonstrations(3, size, noise=0.2), 36):
    engine = Engine(parse_game(game(specs[demo.task])))
    observation = engine.intro
    for turn in demo.turns:
      assert turn.observation == observation
      assert not engine.won()
      observation = engine.step(turn.action)
    assert engine.won() == demo.won


def test_noise_is_not_trained_on_and_the_expert_still_wins():
  demos = list(itertools.islice(demonstrations(1, "small", noise=0.1), 240))
  turns = [turn for demo in demos for turn in demo.turns]
  assert 0.05 < sum(not turn.trained for turn in turns) / len(turns) < 0.15
  assert sum(demo.won for demo in demos) >= 0.95 * len(demos)
  futile = [
    a for d in demos for a, b in itertools.pairwise(d.turns) if b.observation == "Nothing happens."
  ]
  assert futile and not any(turn.trained for turn in futile)
  clean = list(itertools.islice(demonstrations(1, "small", noise=0.0), 60))
  assert all(turn.trained for demo in clean for turn in demo.turns)


def test_demonstrations_are_balanced_and_the_same_every_time():
  demos = list(itertools.islice(demonstrations(2, "small"), 60))
  kinds = [demo.task.split("-")[0] for demo in demos]
  assert {kinds.count(kind) for kind in set(kinds)} == {10} and len(set(kinds)) == 6
  assert demos == list(itertools.islice(demonstrations(2, "small"), 60))


def test_no_demonstration_plays_a_validation_game():
  seed = "embedded/valid_seen"  # the very stream that the validation games were drawn from
  specs = list(itertools.islice(stream(seed, "small"), 400))
  barred = [i for i, spec in enumerate(specs) if spec.content() in validation_contents()]
  assert barred
  shown = itertools.islice(demonstrations(seed, "small"), 400 - len(barred))
  indices = {int(demo.task[-8:]) for demo in shown}
  assert indices == set(range(400)) - set(barred)


def test_commands_are_shown_where_they_are_asked_for():
  plain, shown = (
    next(demonstrations(2, "small", noise=0.0, show_commands=show)).turns for show in (False, True)
  )
  for without, turn in zip(plain, shown, strict=True):
    observation, commands = turn.observation.split("\n\nCommands: ")
    assert observation == without.observation and turn.action == without.action
    assert turn.action in commands.removesuffix(".").split(", ")


def test_noise_out_of_range_is_named():
  with pytest.raises(ValueError, match="noise.*1.5"):
    next(demonstrations(0, "small", noise=1.5))
