"""Any file of a game is played or refused with a one-line error."""

import itertools
import json
import re

import damage
from hypothesis import given, settings, strategies as st
import pytest

from empg_jax.envs import alfworld

GAME = alfworld.read_game(alfworld.tasks("valid_seen")[0])
PLACE = "official/train/pick_and_place_simple-Apple-None-Shelf-1/trial"
FACTS = re.findall(r"\([^()]+\)", GAME["pddl_problem"])
WORDS = sorted({word for fact in FACTS for word in fact[1:-1].split()})


@pytest.fixture(scope="module")
def play(tmp_path_factory):
  """Plays the game of a file with these bytes."""
  root, numbers = tmp_path_factory.mktemp("alfworld"), itertools.count()

  def play(content, choices=(), reset=damage.answered):
    task = f"{PLACE}{next(numbers)}"
    folder = root / "json_2.1.1" / task.removeprefix("official/")
    folder.mkdir(parents=True)
    (folder / "game.tw-pddl").write_bytes(content)
    env = alfworld.make()
    if reset(env.reset, task) is None:
      return
    for number in choices:
      commands = env.admissible_commands
      if env.step(commands[number % len(commands)]).done:
        break

  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("ALFWORLD_DATA", str(root))
    yield play


@st.composite
def problems(draw):
  """The problem of a game, with some facts that lack words, have others, or are missing."""
  facts = FACTS.copy()
  for _ in range(draw(st.integers(1, 4))):
    at = draw(st.integers(0, len(facts) - 1))
    words = facts[at][1:-1].split()
    place = draw(st.integers(0, len(words)))
    words[place : place + draw(st.integers(0, 2))] = draw(
      st.lists(st.sampled_from(WORDS) | st.text(max_size=5), max_size=2)
    )
    facts[at] = draw(st.sampled_from([f"({' '.join(words)})", "", "( )"]))
  rest = iter(facts)
  return re.sub(r"\([^()]+\)", lambda _: next(rest), GAME["pddl_problem"])


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ("(openable)", "says .'openable'., which must have 1 arguments"),
        ("(isHot a b)", "says .'ishot a b'., which must have 1 arguments"),
        ("(receptacleAtLocation x_bar_1)", "which must have 2 arguments"),
        ("(atLocation)", "which must have 2 arguments"),
        ("(inReceptacle a_bar_1 b_bar_1)", "puts something into 'b_bar_1', which is nowhere"),
        ("(receptacleAtLocation shelf loc_bar_1)", "has 'shelf', for which there is no name"),
        ("(objectAtLocation apple loc_bar_1)", "has 'apple', for which there is no name"),
        (" ".join(f"(receptacleAtLocation x_bar_{i} y_bar_{i})" for i in range(1001)),
         r"has 10\d\d receptacles: want 1000 at most"),
    ],
    ids=range(8),
)  # fmt: skip
def test_a_fact_that_no_game_has_is_refused(play, facts, sentence):
  at = GAME["pddl_problem"].index("(:init") + len("(:init")
  problem = GAME["pddl_problem"][:at] + facts + GAME["pddl_problem"][at:]
  with pytest.raises(ValueError, match=f"^cannot play .*{sentence}"):
    play(json.dumps(GAME | {"pddl_problem": problem}).encode(), reset=lambda reset, *a: reset(*a))


@pytest.mark.parametrize(
  ("content", "sentence"),
  [
    (b'{"grammar": ' + damage.nested(101).encode() + b"}", "it nests deeper than 100 levels"),
    (b'{"grammar": ' + b"[" * 10**6, "it nests too deeply"),
    (b" " * (1 << 23) + b"{}", "more than 8388608 bytes"),
    (rb'{"grammar": "\ud800"}', "surrogates not allowed"),
  ],
  ids=range(4),
)
def test_a_file_beyond_the_limits_is_refused(play, content, sentence):
  with pytest.raises(ValueError, match=f"cannot read the game .*{sentence}"):
    play(content, reset=lambda reset, *a: reset(*a))


def test_a_whole_game_is_played(play):
  started = []
  play(json.dumps(GAME).encode(), range(9), lambda reset, task: started.append(reset(task)) or 1)
  assert "Your task is to: " in started[0]


TURNS = st.lists(st.integers(0, 10**6), max_size=20)


@settings(max_examples=80)
@given(problem=problems(), turns=TURNS)
def test_a_problem_with_other_facts_is_played_or_refused(play, problem, turns):
  play(json.dumps(GAME | {"pddl_problem": problem}).encode(), turns)


@settings(max_examples=60)
@given(game=damage.values(GAME), turns=TURNS)
def test_a_game_with_other_values_is_played_or_refused(play, game, turns):
  play(json.dumps(game).encode(), turns)


@settings(max_examples=60)
@given(content=damage.contents(json.dumps(GAME).encode()), turns=TURNS)
def test_a_damaged_file_is_played_or_refused(play, content, turns):
  play(content, turns)
