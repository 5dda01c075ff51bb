"""A searcher that parses the embedded questions, and acts on what it has read.

It finds the country that a question describes, with one search or several, and then the fact
that is asked. If no search shows it, the expert reads the document's pages. If it cannot find
the answer, it answers "unknown".
"""

from collections.abc import Callable, Generator
import re

from empg_jax.envs.deep_search import reading
from empg_jax.envs.deep_search.reading import FACTS

MAX_TURNS = 15
Move = tuple[str, str]  # a thought and an action
# Yields moves, is sent the observation after each, and returns what it found.
Plan = Generator[Move, str, str]

_QUESTION = re.compile(r"Question: What is the (.+?) of (the .+)\?")
_PRIZES = {"physiology or medicine": "Physiology or Medicine", "economic sciences": "Economic"}
_PAGES = 6


class NotFound(Exception):
  """The texts that were read do not have the fact."""


class Expert:
  """Plays one episode, with a call of `act` for each turn."""

  def __init__(self):
    self._plan: Plan | None = None
    self._move: Move = ("", "")

  def act(self, observation: str, played: str | None) -> Move:
    """A short thought and the action, given the observation and the action before it."""
    if self._plan is None:
      self._plan = _solve(observation)
      self._move = next(self._plan)
    elif played == self._move[1]:
      self._move = self._plan.send(observation)
    return self._move  # repeats the move if another action was played


def search(words: str) -> str:
  """The action that searches for `words`."""
  return f"<search>{words}</search>"


def visit(title: str) -> str:
  """The action that opens the document `title`, or its next page."""
  return f"<visit>{title}</visit>"


def answer(text: str) -> str:
  """The action that ends the search with an answer."""
  return f"<answer>{text}</answer>"


def _solve(question: str) -> Plan:
  asked, described = _QUESTION.match(question).groups()
  try:
    country = yield from _place(described)
    found = yield from _fact(country, asked)
  except NotFound:
    found = "unknown"
  while True:
    yield f"it is {found}", answer(found)


def _place(described: str) -> Plan:
  """The country that is described."""
  for pattern, plan in _PLACES:
    if match := re.fullmatch(pattern, described):
      return (yield from plan(*match.groups()))
  raise NotFound(described)


def _fact(country: str, asked: str) -> Plan:
  """The fact that a question asks about a country."""
  fact = FACTS[asked]
  title = f"{country} ({fact.section})"
  words = f"{country} {fact.section} {fact.words}"
  return (yield from _read(words, fact.pattern, lambda it: it == title, f"{asked} of {country}",
                           title))  # fmt: skip


def _read(
  words: str, pattern: re.Pattern[str], fits: Callable[[str], bool], aim: str, title: str = ""
) -> Generator[Move, str, str]:
  """The value of a pattern in a document whose title fits, searched for, else visited."""
  match, _ = yield from _match(words, pattern, fits, aim, title)
  return match[1]


def _match(
  words: str, pattern: re.Pattern[str], fits: Callable[[str], bool], aim: str, title: str = ""
) -> Generator[Move, str, tuple[re.Match[str], str]]:
  """The same, as a match and the document's title."""
  observation = yield f"i need the {aim}", search(words)
  seen = reading.documents(observation)
  for name, text in seen:
    if fits(name) and (match := pattern.search(text)) and not match[0].endswith("..."):
      return match, name
  title, so_far = title or next((name for name, _ in seen if fits(name)), ""), ""
  for page in range(_PAGES if title else 0):
    observation = yield (f"i look into {title}" if page == 0 else "i read on"), visit(title)
    for name, text in reading.documents(observation):
      so_far = f"{so_far} {text}".strip()
      match = pattern.search(so_far)
      if fits(name) and match and (match.end() < len(so_far) or page):
        return match, name
    if not reading.has_next_page(observation):
      break
  raise NotFound(aim)


def _born(name: str) -> Plan:
  match, _ = yield from _birth(name)
  return reading.birthplace(match[4])


def _birth(name: str) -> Generator[Move, str, tuple[re.Match[str], str]]:
  fits = lambda title: title == name
  return (yield from _match(f"{name} was born", reading.BIRTH, fits, f"birth of {name}", name))


def _winner(year: str, subject: str) -> Plan:
  prize = f"Nobel Prize {_PRIZES.get(subject, subject.capitalize())} {year}"
  fits = lambda title: "(" not in title
  match, _ = yield from _match(f"{prize} was born", reading.BIRTH, fits, f"winner of {prize}")
  return reading.birthplace(match[4])


def _first_born(which: str, a: str, b: str) -> Plan:
  one, _ = yield from _birth(a)
  other, _ = yield from _birth(b)
  elder, younger = sorted((one, other), key=reading.birthday)
  return reading.birthplace((elder if which == "elder" else younger)[4])


def _discovered(words: str) -> Plan:
  name = words.removeprefix("element ")
  title = f"{name.capitalize()} (element)"
  place = yield from _read(
    f"{name} element was discovered", reading.DISCOVERY, lambda it: it == title,
    f"discovery of {name}", title,
  )  # fmt: skip
  return reading.birthplace(place)


def _discovered_by_sign(kind: str, sign: str) -> Plan:
  pattern = rf"\({re.escape(sign)}\)" if kind == "the symbol" else rf"atomic number {sign}\."
  pattern = re.compile(rf"{pattern}.*?was discovered in (.+?) in \d+ by")
  words = (
    f"({sign}) is the element with atomic number"
    if kind == "the symbol"
    else (f"element with atomic number {sign}")
  )
  fits = lambda title: title.endswith("(element)")
  place = yield from _read(f"{words} discovered", pattern, fits, f"element {sign}")
  return reading.birthplace(place)


def _with(kind: str, value: str) -> Plan:
  fact = FACTS[kind]
  ending = f" ({fact.section})"
  pattern = re.compile(rf": {re.escape(value)}[. ]")
  _, title = yield from _match(
    f"{fact.words} {value}", pattern, lambda it: it.endswith(ending), f"country of {value}"
  )
  return title.removesuffix(ending)


def _only(country: str) -> Plan:
  return reading.neighbours((yield from _fact(country, "neighbours")))[0]


def _both(a: str, b: str) -> Plan:
  beside_a = reading.neighbours((yield from _fact(a, "neighbours")))
  beside_b = reading.neighbours((yield from _fact(b, "neighbours")))
  shared = [name for name in beside_a if name in beside_b]
  if not shared:
    raise NotFound(f"between {a} and {b}")
  return shared[0]


def _both_births(a: str, b: str) -> Plan:
  one = yield from _born(a)
  other = yield from _born(b)
  return (yield from _both(one, other))


def _more(kind: str, a: str, b: str) -> Plan:
  of_a = reading.number((yield from _fact(a, kind)))
  of_b = reading.number((yield from _fact(b, kind)))
  return a if of_a > of_b else b


# Descriptions of a country, and how it is found; the first that matches counts.
_PLACES: tuple[tuple[str, Callable[..., Plan]], ...] = (
    (r"the country where the winner of the (\d+) Nobel prize for (.+) was born", _winner),
    (r"the country where the (elder|younger) of (.+) and (.+) was born", _first_born),
    (r"the country that borders both the countries where (.+) and (.+) were born", _both_births),
    (r"the country that borders both (.+) and (.+)", _both),
    (r"the country in which the Nobel laureate (.+) was born", _born),
    (r"the country where (.+) was born", _born),
    (r"the country where the element with (the symbol|atomic number) (\w+) was discovered",
     _discovered_by_sign),
    (r"the country in which the element (.+) was discovered", _discovered),
    (r"the country where (.+) was discovered", _discovered),
    (r"the country whose (.+?) is (.+)", _with),
    (r"the only country that borders (.+)", _only),
    (r"the one country with which (.+) shares a border", _only),
    (r"the (.+) country of the two, (.+) or (.+)", _more),
)  # fmt: skip
