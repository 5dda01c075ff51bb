"""Chemical elements (package mendeleev): one document each."""

from collections.abc import Iterator
import sqlite3
from typing import NamedTuple

from empg_jax.envs.deep_search import names
from empg_jax.envs.deep_search.sources import folder

_COLUMNS = (
  "name", "symbol", "atomic_number", "description", "discoverers", "discovery_location",
  "discovery_year", "name_origin", "uses", "sources",
)  # fmt: skip


class Element(NamedTuple):
  """The facts that questions ask about an element; "" where the text has no clear one."""

  name: str
  symbol: str
  number: int
  country: str  # where it was discovered


def documents() -> Iterator[tuple[str, list[str]]]:
  """The title and the passages of each element: its description and its uses."""
  for row in _rows():
    name = row["name"]
    first = [f"{name} ({row['symbol']}) is the element with atomic number {row['atomic_number']}."]
    if row["discovery_location"]:
      first.append(
        f"It was discovered in {row['discovery_location']} in {row['discovery_year']} by"
        f" {row['discoverers'].rstrip('.')}."
      )
    first.append(row["description"] or "")
    second = [
        f"{label}: {row[key].strip().rstrip('.')}."
        for label, key in (("Origin of the name", "name_origin"), ("Uses", "uses"),
                           ("Sources", "sources"))
        if row[key]
    ]  # fmt: skip
    passages = [" ".join(first), f"{name}: " + " ".join(second)]
    yield title(name), [" ".join(text.split()) for text in passages]


def title(element: str) -> str:
  """The title of an element's document: some elements share their name with a planet."""
  return f"{element} (element)"


def elements() -> dict[str, Element]:
  """All elements by name."""
  return {
    row["name"]: Element(
      row["name"],
      row["symbol"],
      row["atomic_number"],
      _country(row["discovery_location"] or ""),
    )
    for row in _rows()
  }


def _rows() -> list[sqlite3.Row]:
  path = folder("mendeleev") / "elements.db"
  connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
  connection.row_factory = sqlite3.Row
  query = f"SELECT {', '.join(_COLUMNS)} FROM elements ORDER BY atomic_number"
  rows = connection.execute(query).fetchall()
  connection.close()
  return rows


def _country(place: str) -> str:
  """The country of a place; "" if there are two."""
  return "" if "/" in place else names.country(place)
