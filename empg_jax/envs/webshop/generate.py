"""Draws catalogues in the formats of WebShop's files: products, attributes, instructions.

Products come in families of four that differ in one thing: a trait that the title names, an
extra that only description and features name, the options, or the price. So a careless
shopper gets part of the reward.
"""

from collections.abc import Iterator, Mapping, Sequence
import random
from typing import Any, NamedTuple

from empg_jax.envs.webshop.shelves import BRANDS, OPTIONS, Kind, kinds

FAMILY = 4
INSTRUCTIONS = 4  # for each product
_NO_PRICE, _RANGE = 0.02, 0.1  # shares of products without a price, and with a range


class Spec(NamedTuple):
  """A product before its texts are written."""

  kind: Kind
  brand: str
  traits: tuple[str, str]
  extra: str
  options: dict[str, tuple[str, ...]]
  price: float


class Catalogue(NamedTuple):
  """The contents of WebShop's three files."""

  items: list[dict[str, Any]]  # items_shuffle
  attributes: dict[str, dict[str, Any]]  # items_ins
  instructions: dict[str, list[dict[str, Any]]]  # items_human_ins


def catalogue(seed: int | str, products: int) -> Catalogue:
  """At least `products` products, equally many of each kind; the same for the same arguments."""
  rng = random.Random(f"{seed}/{products}/texts")
  result = Catalogue([], {}, {})
  for asin, spec in specs(seed, products).items():
    result.items.append(_item(asin, spec, rng))
    result.attributes[asin] = _attributes(spec, rng)
    result.instructions[asin] = [instruction(asin, spec, rng) for _ in range(INSTRUCTIONS)]
  return result


def specs(seed: int | str, products: int) -> dict[str, Spec]:
  """The specs of `catalogue`'s products by asin, in its order."""
  rng = random.Random(f"{seed}/{products}")
  every = kinds()
  families = -(-products // (FAMILY * len(every)))
  drawn = [spec for kind in every for _ in range(families) for spec in _family(kind, rng)]
  rng.shuffle(drawn)
  digits = max(4, len(str(2 * len(drawn))))
  numbers = rng.sample(range(10 ** (digits - 1), 10**digits), len(drawn))
  return {f"B{number}": spec for number, spec in zip(numbers, drawn, strict=True)}


def _family(kind: Kind, rng: random.Random) -> Iterator[Spec]:
  """A product, and three that differ from it in one thing each."""
  traits = rng.sample(kind.traits, 3)
  extra, other_extra = rng.sample(kind.extras, 2)
  options = {option: _some(OPTIONS[option][1], rng) for option in kind.options}
  low, high = kind.prices
  price = rng.randint(low, (low + high) // 2) + rng.choice((0.49, 0.95, 0.99))
  base = Spec(kind, rng.choice(BRANDS), tuple(traits[:2]), extra, options, price)
  yield base
  if rng.random() < 0.5:
    yield base._replace(traits=(traits[0], traits[2]))
  else:
    yield base._replace(extra=other_extra)
  changed = rng.choice(kind.options)
  yield base._replace(options=options | {changed: _some(OPTIONS[changed][1], rng)})
  yield base._replace(price=round(price + rng.uniform(0.3, 1) * (high - low), 2))


def _some(values: Sequence[str], rng: random.Random) -> tuple[str, ...]:
  """Three or four of the values, in their own order."""
  chosen = set(rng.sample(values, rng.choice((3, 3, 4))))
  return tuple(value for value in values if value in chosen)


def _item(asin: str, spec: Spec, rng: random.Random) -> dict[str, Any]:
  kind = spec.kind
  title = f"{spec.brand} {' '.join(spec.traits)} {kind.name}"
  first, second = spec.traits
  bullets = [f"{first} and {second}", f"with {spec.extra}"]
  bullets.append(rng.choice(("a gift for every day", "made to last", "tested with care")))
  return {
    "name": title.title().replace("T-Shirt", "T-shirt"),
    "asin": asin,
    "category": kind.category,
    "query": kind.name,
    "page": 1,
    "product_category": kind.path,
    "full_description": f"{kind.name} by {spec.brand}, {first}, {second}, with {spec.extra}.",
    "small_description": bullets,
    "pricing": _pricing(spec.price, rng),
    "images": [f"{asin}.jpg"],
    "customization_options": {
      OPTIONS[option][0]: [{"value": value, "image": None} for value in values]
      for option, values in spec.options.items()
    },
  }


def _pricing(price: float, rng: random.Random) -> str:
  draw = rng.random()
  if draw < _NO_PRICE:
    return ""
  if draw < _NO_PRICE + _RANGE:
    return f"${price:.2f} - ${price * rng.uniform(1.1, 1.5):.2f}"
  return f"${price:.2f}"


def _attributes(spec: Spec, rng: random.Random) -> dict[str, Any]:
  wanted = _wanted(spec, rng, 2)
  return {
    "attributes": [*spec.traits, spec.extra],
    "instruction": f"find me {_thing(spec, wanted)}",
    "instruction_attributes": wanted,
  }


def instruction(asin: str, spec: Spec, rng: random.Random) -> dict[str, Any]:
  """An instruction for the product, in the format of items_human_ins."""
  wanted = _wanted(spec, rng, rng.choice((1, 2, 2, 3)))
  options = {
    OPTIONS[option][0]: rng.choice(values)
    for option, values in spec.options.items()
    if rng.random() < 0.75
  }
  said = "".join(rng.choice(_SAYINGS[name]).format(value) for name, value in options.items())
  text = rng.choice(_OPENINGS).format(_thing(spec, wanted) + said)
  return {
    "asin": asin,
    "instruction": text,
    "attributes": [*spec.traits, spec.extra],
    "options": [f"{name}: {value}" for name, value in options.items()],
    "instruction_attributes": wanted,
    "instruction_options": list(options.values()),
  }


def _wanted(spec: Spec, rng: random.Random, count: int) -> list[str]:
  every = [*spec.traits, spec.extra]
  chosen = rng.sample(every, count)
  return [attribute for attribute in every if attribute in chosen]


def _thing(spec: Spec, wanted: Sequence[str]) -> str:
  """The kind and the wanted attributes: "a waterproof rain jacket with sealed seams"."""
  traits = [trait for trait in wanted if trait in spec.traits]
  words = f"{', '.join(traits)} {spec.kind.name}".strip()
  if spec.kind.article:
    words = f"{'an' if words[0] in 'aeio' else 'a'} {words}"
  return f"{words} with {spec.extra}" if spec.extra in wanted else words


_OPENINGS = (
  "i need {}", "i am looking for {}", "find me {}", "i want to buy {}", "please show me {}",
  "can you get me {}", "i would like {}", "help me find {}", "looking for {}",
  "my sister wants {}", "i want {} for my trip", "we need {} at home",
)  # fmt: skip
_SAYINGS: Mapping[str, Sequence[str]] = {
  "color": (" in {}", " in the color {}", ", {} please"),
  "size": (", size {}", " in size {}", ", in a {}"),
  "length": (", {} in length", ", {}", " of {}"),
  "capacity": (" of {}", ", {}", " that holds {}"),
  "scent": (", {} scent", " that smells of {}", ", scent {}"),
  "flavor": (", {} flavor", " in {} flavor", " that tastes of {}"),
}
