"""WebShop's pages: their text, and what can be clicked on them.

The text is that of the original's text mode: the visible strings of a page, stripped and
joined by " [SEP] ". It omits an empty string, keeps one of blanks as an empty place, and omits a
blank string with a line break.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from empg_jax.envs.webshop.product import Product
from empg_jax.io import json_text

SEARCH, BACK, PREV, NEXT, BUY = "Search", "Back to Search", "< Prev", "Next >", "Buy Now"
SUB_PAGES = ("Description", "Features", "Reviews")
PER_PAGE = 10
RATING = "N.A."  # the original's files of reviews and ratings are never loaded


class Page(NamedTuple):
  """A page's text and clickable elements, in WebShop's order.

  Attributes:
    kind: "search", "results", "item", "sub" or "done".
    text: the observation.
    clickables: the lower-cased text of each button, link and option, and its target: a
      button's text, a number on the page for a product, an option's name.
  """

  kind: str
  text: str
  clickables: Mapping[str, tuple[str, str | int]]


def search_page(instruction: str) -> Page:
  """The first page of every episode."""
  text = _text(["WebShop", "Instruction:", instruction, SEARCH])
  return Page("search", text, _buttons(SEARCH))


def without_instruction(text: str, instruction: str) -> str:
  """A page's text for a reader who already knows the instruction."""
  return text.replace(_text(["Instruction:", instruction, "."])[:-1], "", 1)


def results_page(instruction: str, page: int, total: int, products: Sequence[Product]) -> Page:
  """Page `page` (from 1) of `total` results: those in `products`."""
  buttons = (PREV, NEXT) if page > 1 else (NEXT,)
  found = [text for p in products for text in (p.asin, p.title, p.price_tag)]
  head = f"Page {page} (Total results: {total})"
  links = {p.asin.lower(): ("product", i) for i, p in enumerate(products)}
  return Page(
    "results",
    _text(["Instruction:", instruction, BACK, head, *buttons, *found]),
    _buttons(BACK, *buttons) | links,
  )


def item_page(instruction: str, product: Product) -> Page:
  """A product's page. It does not show the chosen options, as in the original."""
  options = [text for name, values in product.options.items() for text in (name, *values)]
  details = [product.title, f"Price: {product.price_tag}", f"Rating: {RATING}"]
  clickables = _buttons(BACK, PREV, *SUB_PAGES, BUY)
  for name, values in product.options.items():
    # A value that two options share chooses the later one's.
    clickables |= {value: ("option", name) for value in values}
  text = ["Instruction:", instruction, BACK, PREV, *options, *details, *SUB_PAGES, BUY]
  return Page("item", _text(text), clickables)


def sub_page(instruction: str, product: Product, name: str) -> Page:
  """One of the `SUB_PAGES` of a product; reviews are always empty."""
  texts = {
    "Description": [product.description],
    "Features": [f" {bullet}" for bullet in product.bullets],
    "Reviews": [],
  }[name]
  return Page(
    "sub",
    _text(["Instruction:", instruction, BACK, PREV, *texts]),
    _buttons(BACK, PREV),
  )


def done_page(asin: str, options: Mapping[str, str], reward: float) -> Page:
  """The thank-you page; the original leaves the goal's fields on it empty."""
  chosen = json_text.dumps(options, sort_keys=True)
  for sign in "<>&'":
    chosen = chosen.replace(sign, f"\\u{ord(sign):04x}")
  purchased = ["asin", asin, "options", chosen, "attrs", "None", "category", "None"]
  purchased += ["query", "None", "product category", "None"]
  target = ["asin", "options", "attrs", "price upper", "instuction text", "category"]
  target += ["product category", "query", "Goal", "None"]
  text = ["Thank you for shopping with us!", "Your code:", "None"]
  text += ["(Paste it in your MTurk interface.)", "Purchased", *purchased, "Target", *target]
  text += ["Reward", "Your score (min 0.0, max 1.0)", str(reward), "Reward Details", "None"]
  return Page("done", _text(text), {})


def _buttons(*names: str) -> dict[str, tuple[str, str | int]]:
  return {name.lower(): ("button", name) for name in names}


def _text(strings: Iterable[str]) -> str:
  shown = (s.strip() for s in strings if s and (s.strip() or "\n" not in s))
  return " [SEP] ".join(shown)
