"""A shop on disk: products, goals and search index, built once and mapped by all processes.

It is kept in a folder of its own under $EMPG_JAX_CACHE, by default ~/.cache/empg_jax, named
after what it was made from, so another catalogue or another version makes another one.
"""

import fcntl
import functools
import json
import mmap
import os
import pathlib
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from empg_jax.envs.webshop import goals, index
from empg_jax.envs.webshop.goals import Goal
from empg_jax.envs.webshop.product import Product, is_listed, parse_product

VERSION = 1  # raised when the same files would give another shop


class Shop:
  """A built shop. Whatever is asked of it is read from its mapped files."""

  def __init__(self, folder: pathlib.Path):
    self.index = index.Index(folder)
    self._products = _Records(folder / "products")
    self._goals = _Records(folder / "goals")
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
    """For how much product `number` is sold."""
    return float(self._prices[number])

  def _product(self, number: int) -> Product:
    return Product(*self._products[number])


@functools.cache
def open_shop(folder: pathlib.Path) -> Shop:
  """The shop in a folder, one in a process."""
  return Shop(folder)


def folder_for(key: str) -> pathlib.Path:
  """Where the shop of a key is kept."""
  root = os.environ.get("EMPG_JAX_CACHE") or os.environ.get("XDG_CACHE_HOME", "~/.cache")
  root = pathlib.Path(root).expanduser()
  if not os.environ.get("EMPG_JAX_CACHE"):
    root /= "empg_jax"
  return root / "webshop" / f"{key}-v{VERSION}"


def build_once(
    folder: pathlib.Path,
    items: Iterable[Mapping[str, Any]],
    attributes: Iterable[tuple[str, Mapping[str, Any]]],
    instructions: Iterable[tuple[str, Sequence[Mapping[str, Any]]]],
    kind: str,
) -> None:
  """Builds the shop in `folder`, unless it is there; other processes wait meanwhile.

  Args:
    folder: where.
    items: as in WebShop's items_shuffle files.
    attributes: the entries of its items_ins files, by asin.
    instructions: the entries of its items_human_ins file, by asin.
    kind: of the goals, "human" or "synthetic".

  Raises:
    ValueError: an item or an instruction is broken.
  """
  folder.parent.mkdir(parents=True, exist_ok=True)
  with open(f"{folder}.lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if folder.is_dir():
      return
    draft = pathlib.Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
      _build(draft, items, attributes, instructions, kind)
      draft.rename(folder)
    finally:
      shutil.rmtree(draft, ignore_errors=True)


def _build(folder, items, attributes, instructions, kind) -> None:
  rng = random.Random(goals.SEED)
  with sqlite3.connect(folder / "lookup.tmp") as lookup:
    attributes = _Lookup(lookup, "attributes", attributes)
    instructions = _Lookup(lookup, "instructions", instructions)
    prices = []
    with _Writer(folder / "products") as writer:
      index.build(
          folder, _register(items, attributes, writer, prices, rng)
      )
    np.save(folder / "prices.npy", np.array(prices))
    products = _Records(folder / "products")
    with _Writer(folder / "goals") as writer:
      for number, price in enumerate(prices):
        product = Product(*products[number])
        for goal in _goals(number, product, price, attributes, instructions, kind, rng):
          writer.add(goal)
  lookup.close()
  (folder / "lookup.tmp").unlink()
  order = goals.shuffled(len(_Records(folder / "goals")))
  np.save(folder / "order.npy", np.array(order, np.int64))


def _register(items, attributes, writer, prices, rng) -> Iterator[tuple[str, str]]:
  """Writes each product and draws its price; gives what is indexed of it."""
  seen = set()
  for item in items:
    if not is_listed(item) or item["asin"] in seen:
      continue
    seen.add(item["asin"])
    entry = attributes.get(item["asin"]) or {}
    product = parse_product(item, entry.get("attributes", ["DUMMY_ATTR"]))
    writer.add(product)
    prices.append(goals.draw_price(product, rng))
    yield product.asin, product.search_text


def _goals(number, product, price, attributes, instructions, kind, rng) -> Iterator[Goal]:
  try:
    if kind == "human":
      entries = instructions.get(product.asin) or []
      yield from goals.human_goals(number, price, entries, rng)
    else:
      entry = attributes.get(product.asin) or {}
      yield from goals.synthetic_goals(number, product, price, entry, rng)
  except ValueError as e:
    raise ValueError(f"item {product.asin}: {e}") from e


class _Lookup:
  """JSON values by key, in a table on disk: the full files do not fit into memory."""

  def __init__(self, connection: sqlite3.Connection, name: str, entries):
    self._connection, self._name = connection, name
    connection.execute(f"CREATE TABLE {name} (key TEXT PRIMARY KEY, value TEXT)")
    rows = ((key, json.dumps(value)) for key, value in entries)
    connection.executemany(f"INSERT OR REPLACE INTO {name} VALUES (?, ?)", rows)

  def get(self, key: str) -> Any:
    query = f"SELECT value FROM {self._name} WHERE key = ?"
    row = self._connection.execute(query, (key,)).fetchone()
    return row and json.loads(row[0])


class _Writer:
  """Writes records: JSON lines, and where each ends."""

  def __init__(self, path: pathlib.Path):
    self._path, self._ends = path, []

  def __enter__(self) -> "_Writer":
    self._file = self._path.with_suffix(".jsonl").open("wb")
    return self

  def __exit__(self, *_) -> None:
    self._file.write(b"\n")  # an empty file cannot be mapped
    self._file.close()
    np.save(self._path.with_suffix(".npy"), np.array(self._ends, np.int64))

  def add(self, record: Sequence[Any]) -> None:
    self._file.write(json.dumps(record).encode() + b"\n")
    self._ends.append(self._file.tell())


class _Records:
  """What a `_Writer` wrote, mapped into memory."""

  def __init__(self, path: pathlib.Path):
    with path.with_suffix(".jsonl").open("rb") as f:
      self._bytes = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    self._ends = np.load(path.with_suffix(".npy"), mmap_mode="r").view(np.ndarray)

  def __len__(self) -> int:
    return len(self._ends)

  def __getitem__(self, number: int) -> list[Any]:
    start = self._ends[number - 1] if number else 0
    return json.loads(self._bytes[start : self._ends[number]])
