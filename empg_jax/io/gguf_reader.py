"""Opens GGUF files that nobody vouches for."""

import pathlib
from typing import Any
import weakref

import gguf


class _Reader(gguf.GGUFReader):
  """Ends with the file, beyond which the library would read nothing, again and again."""

  def _get(self, offset, dtype, count=1, *order, **named_order):
    values = super()._get(offset, dtype, count, *order, **named_order)
    if len(values) != int(count):
      raise ValueError("it ends too early")
    return values


# Those in use, by path, time of change and size: a vocabulary takes seconds to read.
_IN_USE: weakref.WeakValueDictionary[tuple, _Reader] = weakref.WeakValueDictionary()


def read(file: pathlib.Path) -> gguf.GGUFReader:
  """The tensors of a file and what else it holds; ValueError if it is no whole GGUF file."""
  try:
    found = file.resolve().stat()
    key = file.resolve(), found.st_mtime_ns, found.st_size
    reader = _IN_USE.get(key)
    if reader is None:
      reader = _IN_USE[key] = _Reader(file)
    return reader
  except Exception as error:  # The library raises whatever it stumbles over.
    raise ValueError(
      f"{file} is no whole GGUF file ({one_line(error)}): download it again."
    ) from error


def value(reader: gguf.GGUFReader, key: str) -> Any:
  """What a file says under a key, None if nothing; ValueError if that cannot be read."""
  field = reader.get_field(key)
  try:
    return None if field is None else field.contents()
  except Exception as error:
    raise ValueError(
      f"{key} of the GGUF file cannot be read ({one_line(error)}): download it again."
    ) from error


def one_line(error: Exception) -> str:
  """What a library says, as part of a sentence."""
  return " ".join(str(error).split())[:200] or type(error).__name__
