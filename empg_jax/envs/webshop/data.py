"""The shop of a catalogue's name: the embedded one, or one from WebShop's own files.

    $WEBSHOP_DATA/items_shuffle_1000.json  items_ins_v2_1000.json     "small", 1,000 products
    $WEBSHOP_DATA/items_shuffle.json       items_ins_v2.json          "full", 1.18 M products
    $WEBSHOP_DATA/items_human_ins.json                                for goals="human"

A shop is built on first use: 1,000 products take a second, 100,000 with 400,000
instructions 15 seconds of CPU and 320 MB. The files are read in pieces, never as a whole.
"""

import functools
import os
import pathlib

from empg_jax.envs._shared import copies, disk, json_files
from empg_jax.envs.webshop import embedded
from empg_jax.envs.webshop.shop import Shop, build_once, folder_for, open_shop
from empg_jax.io import paths

CATALOGUES = ("embedded", "small", "full")
_FILES = {
  "small": ("items_shuffle_1000.json", "items_ins_v2_1000.json"),
  "full": ("items_shuffle.json", "items_ins_v2.json"),
}
_HUMAN = "items_human_ins.json"


def shop(catalogue: str, goals: str) -> Shop:
  """The shop of a catalogue with goals of a kind, built if it is missing.

  Raises:
    FileNotFoundError: WEBSHOP_DATA names no folder with the files.
    ValueError: a file is broken.
  """
  return open_shop(_folder(catalogue, goals, os.environ.get("WEBSHOP_DATA")))


@functools.cache
def _folder(catalogue: str, goals: str, data: str | None) -> pathlib.Path:
  if catalogue == "embedded":
    folder = folder_for(f"embedded-{goals}-{embedded.digest()}")
    if not folder.is_dir():
      build_once(folder, *embedded.files(), goals)
    return folder
  paths = _paths(catalogue, goals, data)
  folder = folder_for(f"{catalogue}-{goals}-{disk.digest(paths)}")
  if not folder.is_dir():
    products, attributes, *human = paths
    instructions = json_files.entries(human[0]) if human else ()
    build_once(
      folder,
      json_files.items(products),
      json_files.entries(attributes),
      instructions,
      goals,
    )
  return folder


def _paths(catalogue: str, goals: str, data: str | None) -> list[pathlib.Path]:
  hint = "set WEBSHOP_DATA to the folder of WebShop's files, or take catalogue='embedded'"
  if not data:
    raise FileNotFoundError(f"catalogue={catalogue!r} needs WebShop's files: {hint}")
  names = [*_FILES[catalogue], *([_HUMAN] if goals == "human" else [])]
  files = [copies.local(paths.expanded(data), names).resolve() / name for name in names]
  for path in files:
    if not path.is_file():
      raise FileNotFoundError(f"there is no file {path}: {hint}")
  return files
