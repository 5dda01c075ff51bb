"""The catalogue that ships with the package.

    python -m empg_jax.envs.webshop

draws the same catalogue again, lists the nouns of its titles with spaCy (from the extra
`webshop`), and writes it where `files` reads it.
"""

import functools
import hashlib
import json
import lzma
import pathlib
from typing import Any

from empg_jax.envs.webshop import generate, nouns
from empg_jax.io import json_text

PRODUCTS = 1200
_SEED = 0
PATH = pathlib.Path(__file__).parent / "assets" / "catalogue.json.xz"


def files() -> tuple[list[dict[str, Any]], Any, Any]:
  """The items, and the entries of attributes and instructions by asin."""
  items, attributes, instructions = json.loads(lzma.decompress(_bytes()))
  return items, attributes.items(), instructions.items()


@functools.cache
def digest() -> str:
  """Identifies this catalogue."""
  return hashlib.sha256(_bytes()).hexdigest()[:12]


@functools.cache
def specs() -> dict[str, generate.Spec]:
  """The specs of its products, by asin."""
  return generate.specs(_SEED, PRODUCTS)


def drawn() -> generate.Catalogue:
  """Draws the catalogue, without the lists of nouns."""
  return generate.catalogue(_SEED, PRODUCTS)


def main() -> None:
  """Writes it."""
  catalogue = drawn()
  for item in catalogue.items:
    item["nouns"] = nouns.tagged(item["name"])
  content = json_text.dumps(catalogue, separators=(",", ":")).encode()
  PATH.write_bytes(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))
  print(f"wrote {PATH} ({PATH.stat().st_size / 1e6:.2f} MB)")


def _bytes() -> bytes:
  return PATH.read_bytes()
