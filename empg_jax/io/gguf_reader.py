"""Opens untrusted GGUF files."""

import pathlib
from typing import Any
import weakref

import gguf


class _Reader(gguf.GGUFReader):
  """Raises at the end of the file, where the library would loop over empty reads."""

  def _get(self, offset, dtype, count=1, *order, **named_order):
    values = super()._get(offset, dtype, count, *order, **named_order)
    if len(values) != int(count):
      raise ValueError("it ends too early")
    return values


# Open readers by path, modification time and size: a vocabulary takes seconds to read.
_IN_USE: weakref.WeakValueDictionary[tuple, _Reader] = weakref.WeakValueDictionary()


def read(file: pathlib.Path) -> gguf.GGUFReader:
  """A reader of the tensors and fields; raises ValueError if the file is not complete GGUF."""
  try:
    found = file.resolve().stat()
    key = file.resolve(), found.st_mtime_ns, found.st_size
    reader = _IN_USE.get(key)
    if reader is None:
      reader = _IN_USE[key] = _Reader(file)
    return reader
  except Exception as error:  # the library raises many types
    raise ValueError(
      f"{file} is not a complete GGUF file ({one_line(error)}): download it again."
    ) from error


def value(reader: gguf.GGUFReader, key: str) -> Any:
  """The value of a key, None if absent; raises ValueError if it cannot be read."""
  field = reader.get_field(key)
  try:
    return None if field is None else field.contents()
  except Exception as error:
    raise ValueError(
      f"{key} of the GGUF file cannot be read ({one_line(error)}): download it again."
    ) from error


def one_line(error: Exception) -> str:
  """A library's message on one line, as part of a sentence."""
  return " ".join(str(error).split())[:200] or type(error).__name__
