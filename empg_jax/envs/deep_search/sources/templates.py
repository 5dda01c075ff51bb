"""Multi-hop questions about the three sources, in words.

A template is a described place and the fact that is asked about it: `birth_capital` is "What is
the capital of the country where NAME was born?". Each question is about entities, which decide
whether it is trained on or held out.
"""

from collections.abc import Iterator
import itertools
import random
from typing import NamedTuple
import unicodedata

from empg_jax.envs._shared import analysis
from empg_jax.envs.deep_search.questions import Question
from empg_jax.envs.deep_search.sources import elements, factbook, laureates
from empg_jax.envs.deep_search.sources.factbook import Country

# Facts of a country: the words of the question, the attribute, the section that has it.
RELATIONS = {
  "capital": ("the capital", "capital", "Government"),
  "highest": ("the highest point", "highest", "Geography"),
  "code": ("the internet country code", "code", "Communications"),
  "currency": ("the currency code", "currency", "Economy"),
}
_CATEGORIES = {"medicine": "physiology or medicine", "economics": "economic sciences"}
_PAIRS = 4000  # pairs drawn for a place that is described by two entities


class Place(NamedTuple):
  """A country as a question describes it."""

  words: tuple[str, ...]  # ways to say it
  country: str
  entities: tuple[str, ...]  # whom the description names
  titles: tuple[str, ...]  # the documents that tell which country it is
  other: str = ""  # the country that a wrong reading leads to: its answer must differ


class Facts:
  """The facts from which questions are drawn."""

  def __init__(self):
    self.countries = factbook.countries()
    people = laureates.laureates().values()
    self.people = [person for person in people if person.country in self.countries]
    found = elements.elements().values()
    self.elements = [element for element in found if element.country in self.countries]


def questions(
  facts: Facts, place: str, relation: str
) -> Iterator[tuple[Question, tuple[str, ...]]]:
  """All questions of a template, always in the same order, with their entities."""
  asked, attribute, section = RELATIONS[relation]
  rng = random.Random(f"{place}/{relation}")
  for where in _PLACES[place](facts, rng):
    answer = getattr(facts.countries[where.country], attribute)
    if not answer or (relation == "capital" and _tells(where.country, answer)):
      continue
    if where.other and getattr(facts.countries[where.other], attribute) in ("", answer):
      continue
    titles = *where.titles, factbook.title(where.country, section)
    if len(set(titles)) < len(titles) or _told_already(answer, where):
      continue
    text = f"What is {asked} of {rng.choice(where.words)}?"
    yield Question(text, _spellings(answer), titles, f"{place}_{relation}"), where.entities


def _tells(country: str, capital: str) -> bool:
  return country in capital or capital in country


def _told_already(answer: str, where: Place) -> bool:
  return any(answer.lower() in words.lower() for words in where.words)


def _spellings(answer: str) -> tuple[str, ...]:
  """Spellings with and without accents."""
  plain = "".join(c for c in unicodedata.normalize("NFD", answer) if not unicodedata.combining(c))
  return tuple(dict.fromkeys([answer, plain]))


def _birth(facts: Facts, rng) -> Iterator[Place]:
  for person in facts.people:
    words = (f"the country where {person.name} was born",
             f"the country in which the Nobel laureate {person.name} was born")  # fmt: skip
    yield Place(words, person.country, (person.name,), (person.name,))


def _prize(facts: Facts, rng) -> Iterator[Place]:
  winners = {}
  for person in laureates.laureates().values():
    for prize in person.prizes:
      winners.setdefault(prize, []).append(person)
  for (year, category), (person, *others) in winners.items():
    if not others and person.country in facts.countries:
      subject = _CATEGORIES.get(category, category)
      words = f"the country where the winner of the {year} Nobel prize for {subject} was born"
      yield Place((words,), person.country, (person.name,), (person.name,))


def _element(facts: Facts, rng) -> Iterator[Place]:
  for element in facts.elements:
    words = (f"the country where {element.name.lower()} was discovered",
             f"the country in which the element {element.name.lower()} was discovered")  # fmt: skip
    yield Place(words, element.country, (element.name,), (elements.title(element.name),))


def _number(facts: Facts, rng) -> Iterator[Place]:
  for element in facts.elements:
    words = f"the country where the element with atomic number {element.number} was discovered"
    yield Place((words,), element.country, (element.name,), (elements.title(element.name),))


def _symbol(facts: Facts, rng) -> Iterator[Place]:
  for element in facts.elements:
    words = f"the country where the element with the symbol {element.symbol} was discovered"
    yield Place((words,), element.country, (element.name,), (elements.title(element.name),))


def _by(attribute: str, words: str, section: str):
  """Countries by something that only they have."""

  def places(facts: Facts, rng) -> Iterator[Place]:
    values = [getattr(country, attribute) for country in facts.countries.values()]
    for country in facts.countries.values():
      value = getattr(country, attribute)
      known = analysis.words(value)  # ".is" is no word to search for
      if known and values.count(value) == 1 and not _tells(country.name, value):
        said = f"the country whose {words} is {value}"
        titles = (factbook.title(country.name, section),)
        yield Place((said,), country.name, (country.name,), titles)

  return places


def _only(facts: Facts, rng) -> Iterator[Place]:
  for country in facts.countries.values():
    if len(country.neighbours) == 1 and country.neighbours[0] in facts.countries:
      words = (f"the only country that borders {country.name}",
               f"the one country with which {country.name} shares a border")  # fmt: skip
      titles = (factbook.title(country.name, "Geography"),)
      yield Place(words, country.neighbours[0], (country.name,), titles)


def _both(facts: Facts, rng) -> Iterator[Place]:
  for a, b in itertools.combinations(facts.countries.values(), 2):
    if (between := _between(a, b)) in facts.countries:
      words = f"the country that borders both {a.name} and {b.name}"
      titles = factbook.title(a.name, "Geography"), factbook.title(b.name, "Geography")
      yield Place((words,), between, (a.name, b.name), titles)


def _between(a: Country, b: Country) -> str:
  """The only country that borders both, which do not border each other; "" if there is none."""
  shared = set(a.neighbours) & set(b.neighbours)
  unsure = "?" in (*a.neighbours, *b.neighbours) or b.name in a.neighbours
  return shared.pop() if len(shared) == 1 and not unsure else ""


def _more(attribute: str, words: str, section: str):
  """The country of two that has more of something."""

  def places(facts: Facts, rng) -> Iterator[Place]:
    known = [country for country in facts.countries.values() if getattr(country, attribute)]
    for a, b in _pairs(known, rng):
      more, less = sorted((a, b), key=lambda country: getattr(country, attribute), reverse=True)
      if getattr(more, attribute) > 1.2 * getattr(less, attribute):
        titles = factbook.title(a.name, section), factbook.title(b.name, section)
        said = f"the {words} country of the two, {a.name} or {b.name}"
        yield Place((said,), more.name, (a.name, b.name), titles, less.name)

  return places


def _birth_of(which: int, words: str):
  """Where the elder (0) or the younger (1) of two laureates was born."""

  def places(facts: Facts, rng) -> Iterator[Place]:
    known = [person for person in facts.people if person.born[0]]
    for a, b in _pairs(known, rng):
      pair = sorted((a, b), key=lambda person: person.born)
      one, other = pair[which], pair[1 - which]
      if one.born[0] != other.born[0] and one.country != other.country:
        said = f"the country where the {words} of {a.name} and {b.name} was born"
        yield Place((said,), one.country, (a.name, b.name), (a.name, b.name), other.country)

  return places


def _both_births(facts: Facts, rng) -> Iterator[Place]:
  for a, b in _pairs(facts.people, rng, 4 * _PAIRS):
    first, second = facts.countries[a.country], facts.countries[b.country]
    if (between := _between(first, second)) in facts.countries:
      words = f"the country that borders both the countries where {a.name} and {b.name} were born"
      titles = a.name, b.name, *(factbook.title(c.name, "Geography") for c in (first, second))
      yield Place((words,), between, (a.name, b.name), titles)


def _pairs(known: list, rng: random.Random, number: int = _PAIRS) -> Iterator[tuple]:
  pairs = {tuple(sorted(rng.sample(range(len(known)), 2))) for _ in range(number)}
  for pair in sorted(pairs):
    a, b = rng.sample(pair, 2)
    yield known[a], known[b]


_PLACES = {
  "birth": _birth,
  "prize": _prize,
  "element": _element,
  "number": _number,
  "symbol": _symbol,
  "capital": _by("capital", "capital", "Government"),
  "highest": _by("highest", "highest point", "Geography"),
  "code": _by("code", "internet country code", "Communications"),
  "only": _only,
  "both": _both,
  "larger": _more("area", "larger", "Geography"),
  "populous": _more("population", "more populous", "People and Society"),
  "elder": _birth_of(0, "elder"),
  "younger": _birth_of(1, "younger"),
  "births": _both_births,
}
