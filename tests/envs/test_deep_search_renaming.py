"""Demonstrations of other names: what is copied is another word everywhere, and nothing else is."""

import itertools
import random
import re

import pytest

from empg_jax.envs import Demonstration, DemoTurn
from empg_jax.envs.deep_search import demos
from empg_jax.envs.deep_search.renaming import renamed

FIXED = frozenset({"i", "need", "the", "capital", "of"})


def test_a_copied_word_is_replaced_everywhere():
  turns = (
      DemoTurn("What is the capital of Côte d'Or? Doc: CÔTE 1980", "i need the capital of Côte",
               "<search>Côte 1980</search>", True),
      DemoTurn("Capital: Paris. Côtes stay.", "i need the capital of Côte", "Côte", False),
  )  # fmt: skip
  told = renamed(Demonstration("t", turns, True), random.Random(0), FIXED | {"search"})
  first, second = told.turns
  word = re.search(r"of (\w+)$", first.thought)[1]
  assert len(word) == 4 and word[0].isupper() and word != "Côte"
  year = re.search(r"(\d{4})", first.action)[1]
  assert first.observation == f"What is the capital of {word} d'Or? Doc: {word.upper()} {year}"
  assert first.action == f"<search>{word} {year}</search>"
  # What the expert did not say is as it was, and so is a longer word.
  assert second == DemoTurn("Capital: Paris. Côtes stay.", f"i need the capital of {word}", word,
                            False)  # fmt: skip
  assert (told.task, told.won) == ("t", True)


@pytest.mark.parametrize("share, least, most", [(0.0, 0, 0), (0.5, 5, 15), (1.0, 20, 20)])
def test_a_share_of_the_demonstrations_is_renamed_and_the_rest_as_ever(share, least, most):
  take = lambda renamed: list(
    itertools.islice(demos.demonstrations(3, questions="short", renamed=renamed), 20)
  )
  plain, told = take(0.0), take(share)
  assert least <= sum(a != b for a, b in zip(plain, told)) <= most
  for a, b in zip(plain, told):
    assert [turn.trained for turn in a.turns] == [turn.trained for turn in b.turns]
    assert [len(turn.action) for turn in a.turns] == [len(turn.action) for turn in b.turns]


def test_answers_occur_in_the_observations():
  for demo in itertools.islice(demos.demonstrations(1, 0.0, renamed=1.0, questions="short"), 30):
    answer = re.search("<answer>(.*)</answer>", demo.turns[-1].action)[1]
    read = " ".join(turn.observation for turn in demo.turns)
    assert answer.lstrip(".").lower() in read.lower()
