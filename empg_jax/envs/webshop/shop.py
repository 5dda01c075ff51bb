"""A shop on disk: products, goals and search index, built once and mapped by all processes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import functools
import json
import pathlib
import random
import sqlite3
from typing import Any

import numpy as np

from empg_jax.envs._shared import bm25, disk
from empg_jax.envs.webshop import goals
from empg_jax.envs.webshop.goals import Goal
from empg_jax.envs.webshop.product import Product, is_listed, parse_product
from empg_jax.io import cache, json_text

VERSION = 1  # a change of what the same files give needs a new one


class Shop:
  """A built shop; its values are read from mapped files."""

  def __init__(self, folder: pathlib.Path):
    self.index = bm25.Index(folder)
    self._products = disk.Records(folder / "products")
    self._goals = disk.Records(folder / "goals")
    self._prices = np.load(folder / "prices.npy", mmap_mode="r")
    self._order = np.load(folder / "order.npy", mmap_mode="r")
    self.product = functools.lru_cache(maxsize=4096)(self._product)

  def __len__(self) -> int:
    """The number of products."""
    return len(self._products)

  @property
  def num_goals(self) -> int:
    return len(self._order)

  def goal(self, number: int) -> Goal:
    """Goal `number` in the shuffled order."""
    return Goal(*self._goals[int(self._order[number])])

  def price(self, number: int) -> float:
    """The price of product `number`."""
    return float(self._prices[number])

  def _product(self, number: int) -> Product:
    return Product(*self._products[number])


@functools.cache
def open_shop(folder: pathlib.Path) -> Shop:
  """The shop in a folder; one object in a process."""
  return Shop(folder)


def folder_for(key: str) -> pathlib.Path:
  """The folder of the shop with this key."""
  return cache.folder_for("webshop", f"{key}-v{VERSION}")


def build_once(
  folder: pathlib.Path,
  items: Iterable[Mapping[str, Any]],
  attributes: Iterable[tuple[str, Mapping[str, Any]]],
  instructions: Iterable[tuple[str, Sequence[Mapping[str, Any]]]],
  kind: str,
) -> None:
  """Builds the shop in `folder`, unless it is there; other processes wait meanwhile.

  Args:
    folder: the shop's folder.
    items: as in WebShop's items_shuffle files.
    attributes: the entries of its items_ins files, by asin.
    instructions: the entries of its items_human_ins file, by asin.
    kind: of the goals, "human" or "synthetic".

  Raises:
    ValueError: an item or an instruction is broken.
  """
  cache.build_once(folder, lambda draft: _build(draft, items, attributes, instructions, kind))


def _build(folder, items, attributes, instructions, kind) -> None:
  rng = random.Random(goals.SEED)
  with sqlite3.connect(folder / "lookup.tmp") as lookup:
    attributes = _Lookup(lookup, "attributes", attributes)
    instructions = _Lookup(lookup, "instructions", instructions)
    prices = []
    with disk.Writer(folder / "products") as writer:
      bm25.build(folder, _register(items, attributes, writer, prices, rng))
    np.save(folder / "prices.npy", np.array(prices))
    products = disk.Records(folder / "products")
    with disk.Writer(folder / "goals") as writer:
      for number, price in enumerate(prices):
        product = Product(*products[number])
        for goal in _goals(number, product, price, attributes, instructions, kind, rng):
          writer.add(goal)
  lookup.close()
  (folder / "lookup.tmp").unlink()
  order = goals.shuffled(len(disk.Records(folder / "goals")))
  np.save(folder / "order.npy", np.array(order, np.int64))


def _register(items, attributes, writer, prices, rng) -> Iterator[tuple[str, str]]:
  """Writes each product and draws its price; yields the text to index."""
  seen = set()
  for item in items:
    if not is_listed(item) or item["asin"] in seen:
      continue
    seen.add(item["asin"])
    entry = attributes.get(item["asin"], dict)
    product = parse_product(item, entry.get("attributes", ["DUMMY_ATTR"]))
    writer.add(product)
    prices.append(goals.draw_price(product, rng))
    yield product.asin, product.search_text


def _goals(number, product, price, attributes, instructions, kind, rng) -> Iterator[Goal]:
  try:
    if kind == "human":
      entries = instructions.get(product.asin, list)
      yield from goals.human_goals(number, price, entries, rng)
    else:
      entry = attributes.get(product.asin, dict)
      yield from goals.synthetic_goals(number, product, price, entry, rng)
  except ValueError as e:
    raise ValueError(f"item {product.asin}: {e}") from e


class _Lookup:
  """JSON values by key in a table on disk, as the full files do not fit into memory."""

  def __init__(self, connection: sqlite3.Connection, name: str, entries):
    self._connection, self._name = connection, name
    connection.execute(f"CREATE TABLE {name} (key TEXT PRIMARY KEY, value TEXT)")
    rows = ((key, json_text.dumps(value, lossless=True)) for key, value in entries)
    connection.executemany(f"INSERT OR REPLACE INTO {name} VALUES (?, ?)", rows)

  def get(self, key: str, kind: type) -> Any:
    """The value of a key, which must be a dict or a list; an empty one if there is none."""
    query = f"SELECT value FROM {self._name} WHERE key = ?"
    row = self._connection.execute(query, (key,)).fetchone()
    value = (row and json.loads(row[0])) or kind()
    if not isinstance(value, kind):
      wanted = "an object" if kind is dict else "a list"
      raise ValueError(f"the {self._name} of {key} are {value!r:.80}: want {wanted}")
    return value
