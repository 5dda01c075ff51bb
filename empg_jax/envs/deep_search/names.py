"""Other names of countries in the embedded corpus."""

_ALIASES = {
  "UK": "United Kingdom", "US": "United States", "USA": "United States",
  "England": "United Kingdom", "Scotland": "United Kingdom", "Great Britain": "United Kingdom",
  "Northern Ireland": "United Kingdom", "UAE": "United Arab Emirates",
  "Czech Republic": "Czechia", "Macedonia": "North Macedonia", "Myanmar": "Burma",
  "Republic of Macedonia": "North Macedonia", "the Netherlands": "Netherlands",
  "Cote d'Ivoire": "Côte d'Ivoire", "West Germany": "Germany", "Switzerland.": "Switzerland",
}  # fmt: skip


def country(name: str) -> str:
  """The name of the country in the titles of its documents."""
  return _ALIASES.get(name, name)
