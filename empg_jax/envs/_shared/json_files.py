"""Reads JSON that nobody vouches for: within limits, and of big files a member at a time.

So 5 GB of products need no 5 GB of memory, and what nests without end or holds halves of
characters is refused where it comes in.
"""

from collections.abc import Iterator
import json
import pathlib
import re
from typing import Any

from empg_jax.io import json_text

_CHUNK = 1 << 20
_DEEPEST = 100  # lists and objects within each other
_LARGEST_LINE = 1 << 26  # bytes
_LARGEST_MEMBER = 1 << 30  # characters; TriviaQA's own files are one member each
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # half of a character, if its other half is absent
_decoder = json.JSONDecoder()


def value(text: bytes) -> Any:
  """The one value that UTF-8 holds; ValueError if it is none, or goes beyond the limits."""
  decoded = text.decode("utf-8-sig")
  try:
    found = json.loads(decoded)
  except RecursionError:
    raise ValueError("it nests too deeply") from None
  _check(found, decoded, 0, len(decoded))
  return found


def lines(path: pathlib.Path) -> Iterator[tuple[int, Any]]:
  """The values of a file of JSON lines, each with its line's number; empty lines are left out.

  Raises:
    ValueError: a line is no JSON.
  """
  with path.open("rb") as f:
    number = 0
    while line := f.readline(_LARGEST_LINE + 1):
      number += 1
      if not line.strip():
        continue
      try:
        if len(line) > _LARGEST_LINE:
          raise ValueError(f"it is longer than {_LARGEST_LINE} bytes")
        found = value(line)
      except ValueError as e:  # also a broken encoding
        raise ValueError(f"{path}, line {number} is no JSON ({e}): restore this file") from e
      yield number, found


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
    with path.open(encoding="utf-8-sig") as f:
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
      reader.skip()
      if not reader.ended():
        raise ValueError(f"{reader.peek()!r} follows the {kind}")
  except (ValueError, RecursionError) as e:
    raise ValueError(f"cannot read {path} as one JSON {kind} ({e}): restore this file") from e


class _Reader:
  """A text file, decoded piece by piece."""

  def __init__(self, file):
    self._file, self._text, self._at = file, "", 0

  def ended(self) -> bool:
    """Whether nothing but blanks is left; otherwise it stands at what is."""
    while True:
      while self._at < len(self._text):
        if not self._text[self._at].isspace():
          return False
        self._at += 1
      if not self._more():
        return True

  def peek(self) -> str:
    """The next character that is no blank; an error at the end of the file."""
    if self.ended():
      raise ValueError("it ends too early")
    return self._text[self._at]

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
          _check(value, self._text, self._at, end)
          self._at = end
          return value
      except json.JSONDecodeError:
        if not self._more():
          raise

  def _more(self) -> bool:
    """Reads at least as much again as is pending, so that a long value costs no squares."""
    pending = self._text[self._at :]
    if len(pending) > _LARGEST_MEMBER:
      raise ValueError(f"a member is longer than {_LARGEST_MEMBER} characters")
    chunk = self._file.read(max(_CHUNK, len(pending)))
    self._text, self._at = pending + chunk, 0
    return bool(chunk)


def _check(value: Any, text: str, start: int, end: int) -> None:
  """Raises ValueError unless all of a value, read from this part of the text, can go on."""
  if _SURROGATE.search(text, start, end):
    json_text.dumps(value, ensure_ascii=False).encode()
  # As good as no value has so many brackets that it might nest too deeply.
  if text.count("[", start, end) + text.count("{", start, end) <= _DEEPEST:
    return
  level = [value]
  for _ in range(_DEEPEST):
    level = [
      inner
      for outer in level
      if isinstance(outer, (list, dict))
      for inner in (outer.values() if isinstance(outer, dict) else outer)
    ]
  if any(isinstance(inner, (list, dict)) for inner in level):
    raise ValueError(f"it nests deeper than {_DEEPEST} levels")
