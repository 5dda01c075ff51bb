"""Reads big JSON files a member at a time, so that 5 GB of products need no 5 GB of memory."""

import json
import pathlib
from collections.abc import Iterator
from typing import Any

_CHUNK = 1 << 20
_decoder = json.JSONDecoder()


def items(path: pathlib.Path) -> Iterator[Any]:
  """The members of the one list that a file holds.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is no list, or broken JSON.
  """
  return _members(path, "[", "]")


def entries(path: pathlib.Path) -> Iterator[tuple[str, Any]]:
  """The keys and values of the one object that a file holds; errors as for `items`."""
  return _members(path, "{", "}")


def _members(path: pathlib.Path, opening: str, closing: str) -> Iterator[Any]:
  kind = "list" if opening == "[" else "object"
  try:
    with path.open(encoding="utf-8") as f:
      reader = _Reader(f)
      if reader.peek() != opening:
        raise ValueError(f"it does not start with {opening!r}")
      reader.skip()
      while reader.peek() != closing:
        if opening == "[":
          yield reader.value()
        else:
          key = reader.value()
          if not isinstance(key, str) or reader.peek() != ":":
            raise ValueError(f"{str(key)[:80]!r} is not followed by ':'")
          reader.skip()
          yield key, reader.value()
        if reader.peek() == ",":
          reader.skip()
          if reader.peek() == closing:
            raise ValueError(f"{closing!r} follows ','")
        elif reader.peek() != closing:
          raise ValueError(f"{reader.peek()!r} where ',' or {closing!r} should be")
  except (ValueError, RecursionError) as e:
    raise ValueError(
        f"cannot read {path} as one JSON {kind} ({e}): restore this file"
    ) from e


class _Reader:
  """A text file, decoded piece by piece."""

  def __init__(self, file):
    self._file, self._text, self._at = file, "", 0

  def peek(self) -> str:
    """The next character that is no blank; an error at the end of the file."""
    while True:
      while self._at < len(self._text):
        if not self._text[self._at].isspace():
          return self._text[self._at]
        self._at += 1
      if not self._more():
        raise ValueError("it ends too early")

  def skip(self) -> None:
    self._at += 1

  def value(self) -> Any:
    """The next JSON value; read on as long as it may only be cut off."""
    self.peek()
    while True:
      try:
        value, end = _decoder.raw_decode(self._text, self._at)
        # A number may go on in the next chunk; whatever else has ended has ended.
        if end < len(self._text) or not self._more():
          self._at = end
          return value
      except json.JSONDecodeError:
        if not self._more():
          raise

  def _more(self) -> bool:
    """Reads at least as much again as is pending, so that a long value costs no squares."""
    pending = self._text[self._at :]
    chunk = self._file.read(max(_CHUNK, len(pending)))
    self._text, self._at = pending + chunk, 0
    return bool(chunk)
