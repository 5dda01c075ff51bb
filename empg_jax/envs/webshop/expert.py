"""A shopper that uses only what the pages show, as an agent could.

It searches for the goal's words, opens the product that fits best by title and price, reads
the features for missing words, tries another product if the first one does not fit, chooses
the options that the goal names, and buys.
"""

from collections.abc import Sequence
import re
from typing import NamedTuple

SEPARATOR = " [SEP] "
MAX_TURNS = 15
# The turns for a product: open, features, back, two options, buy.
_TURNS_TO_BUY = 6

_PRICE = re.compile(r", and price lower than ([\d.]+) dollars$")
_WORD = re.compile(r"[\w-]+")
# Words of an instruction that do not describe the product.
_FILLERS = frozenset(
  "a an the and or of in on at to for with that is are it its i we my our me you can could"
  " would like want wants need needs am looking find get buy show help please some one any has"
  " have holds tastes smells size color flavor scent length trip home sister".split()
)
_OPTION_NAMES = frozenset("color size scent flavor length capacity style material".split())


class Listing(NamedTuple):
  """One product of a results page."""

  asin: str
  words: frozenset[str]
  price: float


class Expert:
  """Plays one episode, with a call of `act` for each turn."""

  def __init__(self):
    self._asin = ""  # of the item page that is open, or was last
    self._clicked: list[str] = []  # on its page
    self._kind = ""  # of the page that was read last
    self._seen: dict[str, frozenset[str]] = {}  # words of features that were read, by asin
    self._fits: dict[str, int] = {}  # how many of the goal's words a tried product has
    self._listed: list[Listing] = []
    self._settled = ""  # the product to buy, once that is clear
    self._turn = 0

  def act(self, observation: str, played: str | None) -> tuple[str, str]:
    """A short thought and the action, given the observation and the action before it."""
    self._turn += 1
    parts = observation.split(SEPARATOR)
    self._note((played or "").partition("[")[2].removesuffix("]").lower())
    self._kind = _kind(parts)
    self._read_goal(parts[2 if self._kind == "search" else 1])
    if self._kind == "search":
      return "i look for it", f"search[{' '.join(self._query)}]"
    if self._kind == "results":
      return self._on_results(parts)
    if self._kind == "item":
      return self._on_item(parts)
    if played == "click[features]":
      self._seen[self._asin] = frozenset(_words(" ".join(parts[4:])))
    return "i have read it", "click[< prev]"

  def _note(self, argument: str) -> None:
    """Records which product is open and what was clicked on its page."""
    if self._kind == "results":
      if argument in {listing.asin.lower() for listing in self._listed}:
        self._asin, self._clicked = argument, []
    elif self._kind == "item":
      self._clicked.append(argument)

  def _read_goal(self, instruction: str) -> None:
    price = _PRICE.search(instruction)
    self._limit = float(price[1]) if price else float("inf")
    self._wish = instruction[: price.start()] if price else instruction
    self._query = [word for word in _words(self._wish) if word not in _FILLERS]
    self._goal = frozenset(self._query)

  def _on_results(self, parts: Sequence[str]) -> tuple[str, str]:
    found = parts[parts.index("Next >") + 1 :]
    self._listed = [
      Listing(asin, frozenset(_words(title)), _highest(price))
      for asin, title, price in zip(found[::3], found[1::3], found[2::3])
    ]
    if not self._listed:
      return "nothing is here", "click[back to search]"
    untried = [i for i in self._affordable() if i.asin.lower() not in self._fits]
    if self._settled or not (untried and self._has_time()):
      best = max(
        self._listed,
        key=lambda i: (
          self._fits.get(i.asin.lower(), -1),
          i.price <= self._limit,
          len(i.words & self._goal),
        ),
      )
      self._settled = best.asin.lower()
      return "it is the best", f"click[{best.asin}]"
    best = max(untried, key=lambda i: len(i.words & self._goal))
    return "it may fit", f"click[{best.asin}]"

  def _affordable(self) -> list[Listing]:
    return [listing for listing in self._listed if listing.price <= self._limit]

  def _has_time(self) -> bool:
    return self._turn + 2 + _TURNS_TO_BUY <= MAX_TURNS

  def _on_item(self, parts: Sequence[str]) -> tuple[str, str]:
    price = max(i for i, part in enumerate(parts) if part.startswith("Price: "))
    groups = _option_groups(parts[4 : price - 1])
    named = {self._named(group): group for group in groups}
    wanted = [value for value in named if value]
    known = frozenset(_words(" ".join([parts[price - 1], *wanted])))
    missing = self._missing(known)
    rival = any(i.asin.lower() not in self._fits | {self._asin: 0} for i in self._affordable())
    undecided = self._asin != self._settled and rival and self._has_time()
    if missing and undecided and self._asin not in self._seen:
      return f"has it {' '.join(missing)} ?", "click[features]"
    missing = self._missing(known | self._seen.get(self._asin, frozenset()))
    self._fits[self._asin] = -len(missing)
    if missing and undecided:
      return f"no {' '.join(missing)}", "click[< prev]"
    for value in wanted:
      if next((c for c in reversed(self._clicked) if c in named[value]), None) != value:
        return f"i choose {value}", f"click[{value}]"
    return "all is right", "click[buy now]"

  def _missing(self, known: frozenset[str]) -> list[str]:
    return [word for word in self._query if word not in known]

  def _named(self, group: Sequence[str]) -> str | None:
    """The value of an option that the goal names: the last match, as options come last."""
    found = {
      value: list(re.finditer(rf"(?<![\w-]){re.escape(value)}(?![\w-])", self._wish))
      for value in group
    }
    named = [value for value in group if found[value]]
    return max(named, key=lambda v: (found[v][-1].end(), len(v)), default=None)


def _kind(parts: Sequence[str]) -> str:
  if parts[0] == "WebShop":
    return "search"
  if parts[-1] == "Buy Now":
    return "item"
  return "results" if len(parts) > 3 and parts[3].startswith("Page ") else "sub"


def _words(text: str) -> list[str]:
  return _WORD.findall(text.lower())


def _highest(price: str) -> float:
  return max(float(amount) for amount in re.findall(r"[\d.]+", price))


def _option_groups(parts: Sequence[str]) -> list[list[str]]:
  """The values of each option; names and values are in one row on the page."""
  groups: list[list[str]] = []
  for part in parts:
    if part in _OPTION_NAMES:
      groups.append([])
    elif groups:
      groups[-1].append(part)
  return groups
