"""Draws the embedded corpus and questions from the sources."""

import collections
import hashlib
import random

from empg_jax.envs.deep_search import embedded
from empg_jax.envs.deep_search.questions import Question
from empg_jax.envs.deep_search.sources import elements, factbook, laureates, templates

TRAINED = (
  "birth_capital", "birth_highest", "birth_code", "prize_capital", "prize_highest",
  "element_capital", "element_code", "number_highest", "capital_highest", "highest_capital",
  "code_capital", "only_capital", "both_capital", "larger_capital", "elder_capital",
  "elder_code",
)  # fmt: skip
OUT_OF_DOMAIN = (  # templates that are never trained on
  "birth_currency", "symbol_capital", "highest_code", "populous_capital", "younger_capital",
  "births_capital",
)  # fmt: skip
_MOST = {"train": 300, "test": 50, "out_of_domain": 80}  # questions of a template
_MOST_ALIKE = 0.1  # share of them with the same answer


def documents() -> list[tuple[str, list[str]]]:
  """Titles and passages of all three sources."""
  return [*factbook.documents(), *laureates.documents(), *elements.documents()]


def splits() -> dict[str, list[Question]]:
  """The questions of each split.

  No question of "train" is about an entity of a question of "test".
  """
  facts = templates.Facts()
  drawn = {
    "train": [q for kind in TRAINED for q in _drawn(facts, kind, "train", {False})],
    "test": [q for kind in TRAINED for q in _drawn(facts, kind, "test", {True})],
    "out_of_domain": [
      q for kind in OUT_OF_DOMAIN for q in _drawn(facts, kind, "out_of_domain", {False, True})
    ],
  }
  for split, chosen in drawn.items():
    random.Random(split).shuffle(chosen)
  return drawn


def _drawn(facts: templates.Facts, kind: str, split: str, held_out: set[bool]) -> list[Question]:
  """Questions of a template whose entities all are, or all are not, held out."""
  found = [
    question
    for question, entities in templates.questions(facts, *kind.rsplit("_", 1))
    if set(map(_is_held_out, entities)) <= held_out
  ]
  random.Random(f"{kind}/{split}").shuffle(found)
  most, alike, chosen = _MOST[split], collections.Counter(), []
  for question in found:
    alike[question.answers] += 1
    if alike[question.answers] <= max(2, _MOST_ALIKE * min(most, len(found))):
      chosen.append(question)
  return chosen[:most]


def _is_held_out(entity: str) -> bool:
  return hashlib.sha256(entity.encode()).digest()[0] < 64  # a quarter


def main() -> None:
  """Writes the assets."""
  embedded.write(documents(), splits())
