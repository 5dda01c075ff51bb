"""A product, read from an item of WebShop's items_shuffle files."""

from collections.abc import Mapping, Sequence
import decimal
import math
import re
from typing import Any, NamedTuple

_NO_PRICE = 100.0
_KEYS = ("name", "full_description", "category", "query", "product_category")
# The sign between categories, U+203A.
_CATEGORY_SEPARATOR = "\u203a"


class Product(NamedTuple):
  """A product as the pages and the reward need it; plain JSON values."""

  asin: str
  title: str
  description: str
  bullets: Sequence[str]
  price_tag: str
  prices: Sequence[float]  # one, or the two ends of a range
  options: Mapping[str, Sequence[str]]
  attributes: Sequence[str]
  category: str
  query: str
  product_category: str
  nouns: Sequence[str] | None  # of the title, lower-cased, if the catalogue lists them

  @property
  def categories(self) -> set[str]:
    return {part.strip() for part in self.product_category.split(_CATEGORY_SEPARATOR)}

  @property
  def search_text(self) -> str:
    """The text that the search engine indexes."""
    options = ", and ".join(f"{name}: {', '.join(v)}" for name, v in self.options.items())
    first_bullet = self.bullets[0] if self.bullets else ""
    return " ".join([self.title, self.description, first_bullet, options]).lower()


def is_listed(item: Any) -> bool:
  """Whether WebShop lists an item: its asin is a real one."""
  try:
    asin = item["asin"]
  except (KeyError, TypeError):
    raise ValueError(
      f"an item has no 'asin' ({item!r:.80}): every item must be an object with one"
    ) from None
  if not isinstance(asin, str) or not asin.isprintable():
    raise ValueError(f"an item's asin is {asin!r:.80}: want a string of letters and digits")
  return asin != "nan" and len(asin) <= 10


def parse_product(item: Mapping[str, Any], attributes: Any) -> Product:
  """Reads a product from an item and its attributes in the file items_ins.

  Raises:
    ValueError: a required value is missing or of a wrong kind.
  """
  asin = item["asin"]
  for key in _KEYS:
    if not isinstance(item.get(key), str):
      raise ValueError(
        f"item {asin} has {item.get(key)!r:.80} as {key!r}: every item must have a string there"
      )
  bullets = item.get("small_description")
  price_tag, prices = _pricing(asin, item.get("pricing"))
  return Product(
    asin=asin,
    title=item["name"],
    description=item["full_description"],
    bullets=[str(b) for b in bullets] if isinstance(bullets, list) else [str(bullets)],
    price_tag=price_tag,
    prices=prices,
    options=_options(asin, item.get("customization_options")),
    attributes=_texts(asin, "attributes", attributes),
    category=item["category"],
    query=item["query"].lower().strip(),
    product_category=item["product_category"],
    nouns=None if item.get("nouns") is None else _texts(asin, "nouns", item["nouns"]),
  )


def _texts(asin: str, key: str, value: Any) -> list[str]:
  if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
    raise ValueError(f"item {asin} has {value!r:.80} as {key!r}: want a list of strings")
  return value


def _pricing(asin: str, pricing: Any) -> tuple[str, list[float]]:
  if not pricing:
    return f"${_NO_PRICE}", [_NO_PRICE]
  try:
    prices = [_amount(text) for text in pricing.split("$")[1:]][:2]
  except (AttributeError, decimal.InvalidOperation):
    prices = []
  if not prices or not all(map(math.isfinite, prices)):
    raise ValueError(
      f"item {asin} has the pricing {pricing!r:.80}: want '$1.50', '$1.50 - $2.00' or ''"
    )
  return " to ".join(f"${price}" for price in prices), prices


def _amount(text: str) -> float:
  """The number in a text; raises decimal.InvalidOperation if it has more than one number."""
  number = re.sub(r"[^\d.]", "", text)
  places = [place for place, sign in enumerate(text) if sign.isdecimal()]
  between = text[places[0] : places[-1]] if places else ""
  if not all(sign.isdecimal() or sign in ".," or sign.isspace() for sign in between):
    raise decimal.InvalidOperation
  return float(decimal.Decimal(number))


def _options(asin: str, customization: Any) -> dict[str, list[str]]:
  try:
    return {
      name.lower(): [content["value"].strip().replace("/", " | ").lower() for content in contents]
      for name, contents in (customization or {}).items()
      if contents is not None
    }
  except (AttributeError, KeyError, TypeError):
    raise ValueError(
      f"item {asin} has the customization_options {customization!r:.80}: want an object of"
      " lists of {'value': string}"
    ) from None
