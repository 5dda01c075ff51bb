"""Reads facts from the texts of the embedded corpus."""

import re
from typing import NamedTuple

from empg_jax.envs.deep_search import names

_RESULT = re.compile(r"(?:Doc \d+)?\(Title: (.+?)\) (?!\))(.*)")
_PAGE = re.compile(r" Page (\d+) of (\d+)\.(?: Visit it again for the next one\.)?$")
_NUMBER = re.compile(r"([\d,.]+)( million)?")
_NEIGHBOUR = re.compile(r"\s*(\(.*|[\d,.]+ ?k?m?\b.*)$")
_NOW = re.compile(r"\(now (?:the )?([^)]+)\)")
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


class Fact(NamedTuple):
  """A fact that a document has about a country."""

  section: str  # of the country's documents
  words: str  # to search for
  pattern: re.Pattern[str]  # around its value


FACTS = {
  "capital": Fact("Government", "capital name", re.compile(r"Capital - name: ([^\d;,/()]+)\.")),
  "highest point": Fact(
    "Geography", "elevation highest point",
    re.compile(r"Elevation - highest point: ([^\d;,/()]+?) [\d,]+ m\b"),
  ),
  "internet country code": Fact(
    "Communications", "internet country code",
    re.compile(r"Internet country code: (\.[a-z]{2})\b"),
  ),
  "currency code": Fact(
    "Economy", "exchange rates currency per US dollar",
    re.compile(r"Exchange rates - Currency: [^.]*\(([A-Z]{3})\) per"),
  ),
  "larger": Fact(
    "Geography", "area total sq km", re.compile(r"Area - total: ([\d,.]+(?: million)?) sq km")
  ),
  "more populous": Fact(
    "People and Society", "population total",
    re.compile(r"Population - total: ([\d,]+) \("),
  ),
  "neighbours": Fact(
    "Geography", "land boundaries border countries",
    re.compile(r"Land boundaries - border countries: (.*?)(?:\. [A-Z]|\.$|$)"),
  ),
}  # fmt: skip
BIRTH = re.compile(r"was born(?: on (\d+) (\w+) (\d{4}))? in (.+?)\. (?:The|At|N)")
DISCOVERY = re.compile(r"was discovered in (.+?) in \d+ by")


def documents(observation: str) -> list[tuple[str, str]]:
  """Titles and texts of the documents in search results or on a page; none for other texts."""
  inside = observation.partition("<information>")[2].partition("</information>")[0]
  found = (_RESULT.match(line) for line in inside.split("\n"))
  return [(match[1], _PAGE.sub("", match[2])) for match in found if match]


def has_next_page(observation: str) -> bool:
  """Whether the page is not the document's last."""
  return "Visit it again" in observation


def birthplace(text: str) -> str:
  """The country of "Warsaw, Russian Empire (now Poland)"."""
  last = text.rpartition(", ")[2]
  now = _NOW.search(last)
  return names.country(now[1] if now else last)


def birthday(match: re.Match[str]) -> tuple[int, int, int]:
  """Year, month, day of a BIRTH that tells them."""
  return int(match[3]), _MONTHS.index(match[2][:3]), int(match[1])


def number(text: str) -> float:
  """Of "312,685" or "1.284 million"."""
  digits, million = _NUMBER.match(text).groups()
  return float(digits.rstrip(".,").replace(",", "")) * (1e6 if million else 1)


def neighbours(text: str) -> list[str]:
  """The countries of "Belarus 375 km; Czechia 699 km"."""
  entries = (_NEIGHBOUR.sub("", entry.strip()) for entry in text.split(";"))
  return [names.country(entry) for entry in entries if entry]
