"""Goals made from products, with WebShop's prices and in its order.

Prices and price limits are drawn from one random stream, in the original's order: a price
for every product with a range, then two limits for every goal ("human") or every product
with an instruction ("synthetic"). The original does not seed that stream, so there they
change from run to run; here its seed is 233, that of the original's shuffle. The original
draws the same after `random.seed(233)` if nothing else draws between: its `rich` draws on
its first print, which must come before.
"""

from collections.abc import Iterator, Mapping, Sequence
import itertools
import math
import random
from typing import Any, NamedTuple

from empg_jax.envs.webshop.product import Product

SEED = 233
KINDS = ("human", "synthetic")
NO_LIMIT = 1_000_000.0
_MOST_COMBINATIONS = 1_000_000
_LIMITS = [10.0 * i for i in range(1, 100)]


class Goal(NamedTuple):
  """One task; plain JSON values.

  `options` are strings such as "color: black" for a goal in a human's words, and pairs of
  name and value for a synthetic one, which the reward treats differently.
  """

  product: int  # the number of the product it was made from
  instruction: str
  attributes: Sequence[str]
  options: Sequence[str | Sequence[str]]
  price_upper: float


def draw_price(product: Product, rng: random.Random) -> float:
  """Draws the price of a product."""
  return product.prices[0] if len(product.prices) == 1 else rng.uniform(*product.prices)


def human_goals(
  number: int, price: float, instructions: Sequence[Any], rng: random.Random
) -> Iterator[Goal]:
  """The goals that people wrote for product `number`, except those without attributes."""
  for entry in instructions:
    if not isinstance(entry, Mapping):
      raise ValueError(f"an instruction is {entry!r:.80}: want an object")
    attributes = _list(entry, "instruction_attributes")
    if not attributes:
      continue
    limit, limit_text = _limit(price, rng)
    text = _string(entry, "instruction").strip(".") + limit_text
    options = _list(entry, "instruction_options")
    yield Goal(number, text, attributes, options, limit)


def synthetic_goals(
  number: int, product: Product, price: float, entry: Mapping[str, Any], rng: random.Random
) -> Iterator[Goal]:
  """One goal for each combination of the product's options, if it has an instruction."""
  if entry.get("instruction") is None:
    return
  attributes = _list(entry, "instruction_attributes")
  if not attributes:
    raise ValueError(f"the instruction {entry['instruction']!r:.80} has no attributes: name one")
  combinations = math.prod(map(len, product.options.values()))
  if combinations > _MOST_COMBINATIONS:
    raise ValueError(
      f"its options have {combinations} combinations: want {_MOST_COMBINATIONS} at most"
    )
  limit, limit_text = _limit(price, rng)
  names = sorted(product.options)
  for values in itertools.product(*(product.options[name] for name in names)):
    wanted = ", and ".join(f"{name}: {value}" for name, value in zip(names, values))
    text = _string(entry, "instruction") + (f" with {wanted}" if wanted else "") + limit_text
    yield Goal(number, text, attributes, list(zip(names, values)), limit)


def shuffled(count: int) -> list[int]:
  """The order of `count` goals: test goals come first, then eval, then train."""
  order = list(range(count))
  random.Random(SEED).shuffle(order)
  return order


def _limit(price: float, rng: random.Random) -> tuple[float, str]:
  above = [limit for limit in _LIMITS if limit > price][:4]
  if len(above) < 2:
    return NO_LIMIT, ""
  limit = max(rng.sample(above, 2))
  return limit, f", and price lower than {limit:.2f} dollars"


def _list(entry: Mapping[str, Any], key: str) -> list[str]:
  value = entry.get(key)
  if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
    raise ValueError(f"an instruction has {value!r:.80} as {key!r}: want a list of strings")
  return value


def _string(entry: Mapping[str, Any], key: str) -> str:
  value = entry.get(key)
  if not isinstance(value, str):
    raise ValueError(f"an instruction has {value!r:.80} as {key!r}: want a string")
  return value
