"""Models that are not on this host's disk yet, and which of their files are read."""

from collections.abc import Callable, Collection
import json
import pathlib

from empg_jax import console
from empg_jax.chat import tokenizer_files
from empg_jax.io import cache, paths
from empg_jax.models.source import INDEX, SINGLE

_SMALL = ("config.json", "generation_config.json", INDEX, *tokenizer_files.FILES)


def from_bucket(address: str) -> pathlib.Path:
  """A copy of the model in a bucket's folder, or of the GGUF file that is named, made once a host.

  Raises:
    FileNotFoundError: there is no model.
    OSError: it cannot be copied.
  """
  if address.endswith(".gguf"):
    return cache.local(address, console.Progress)
  home = paths.of(address)
  there = [path.name for path in paths.entries(home)]
  names = needed(there, lambda name: (home / name).read_text())
  if not names:
    raise FileNotFoundError(f"There is no model in {address}.")
  return cache.local(address, console.Progress, names)


def needed(there: Collection[str], read: Callable[[str], str]) -> list[str]:
  """Which files of a model's folder are read, of those that are `there`.

  Args:
    there: their names.
    read: gives a file's text.
  """
  weights = [SINGLE]
  if INDEX in there:
    weights = sorted({*json.loads(read(INDEX))["weight_map"].values()})
  elif SINGLE not in there:
    weights = [name for name in sorted(there) if name.endswith(".gguf")]
  return [name for name in (*_SMALL, *weights) if name in there]
