"""Lookup by name: a module in a folder, an entry of a table."""

from collections.abc import Iterable, Mapping
import difflib
import importlib
import pkgutil
from types import ModuleType
from typing import TypeVar

from empg_jax.io import words

T = TypeVar("T")


def find(package: str, name: str) -> ModuleType:
  """Returns the module `name` of a package: `find("empg_jax.algorithms", "grpo")`.

  Modules whose names begin with an underscore are private and are not found.

  Raises:
    ValueError: there is no such module; the message lists those that are there.
  """
  folder = importlib.import_module(package).__path__
  names = [module.name for module in pkgutil.iter_modules(folder)]
  there = [module for module in names if not module.startswith("_")]
  if name not in there:
    raise ValueError(unknown(f"{package} has no module", name, there))
  return importlib.import_module(f"{package}.{name}")


def find_or_import(package: str, name: str) -> ModuleType:
  """As `find`; a name with dots is any importable module.

  Configs resolve names this way: `find_or_import("empg_jax.envs", "my_lab.guess_number")`.

  Raises:
    ValueError: there is no such module.
  """
  if "." not in name:
    return find(package, name)
  missing = ValueError(
    f"there is no module {name!r:.80}: Python looks for it in the current folder, in that of the"
    " --config file, and in those of PYTHONPATH"
  )
  if not all(part.isidentifier() for part in name.split(".")):
    raise missing
  try:
    return importlib.import_module(name)
  except ModuleNotFoundError as error:
    if not f"{name}.".startswith(f"{error.name}."):
      raise
    raise missing from error


def get(table: Mapping[str, T], name: str, kind: str) -> T:
  """Returns `table[name]`; `kind` is the message's word for an entry ("preset").

  Raises:
    ValueError: there is no such entry; the message lists those that are there.
  """
  if name not in table:
    raise ValueError(unknown(f"there is no {kind}", name, table))
  return table[name]


def unknown(problem: str, name: str, there: Iterable[str]) -> str:
  """An error message for an unknown name, with the closest match and all valid names."""
  there = sorted(there)
  close = difflib.get_close_matches(name, there, n=1)
  meant = f"did you mean '{close[0]}'? " if close else ""
  return f"{problem} {name!r:.80}: {meant}{words.choices(there)}"
