"""Reads untrusted JSON within limits, and large files one member at a time.

So 5 GB of products do not need 5 GB of memory, and input that nests too deeply or has half a
surrogate pair is refused at once.
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
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # half of a surrogate pair
_decoder = json.JSONDecoder()


def value(text: bytes) -> Any:
  """The value of a JSON text in UTF-8; raises ValueError if it is invalid or exceeds the limits."""
  decoded = text.decode("utf-8-sig")
  try:
    found = json.loads(decoded)
  except RecursionError:
    raise ValueError("it nests too deeply") from None
  _check(found, decoded, 0, len(decoded))
  return found


def lines(path: pathlib.Path) -> Iterator[tuple[int, Any]]:
  """Yields the values of a file of JSON lines with their line numbers; empty lines are skipped.

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
  """Yields the members of the list that a file holds.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is no list, or broken JSON.
  """
  return _members(path, "[", "]")


def entries(path: pathlib.Path) -> Iterator[tuple[str, Any]]:
  """Yields the keys and values of the object that a file holds; errors as for `items`."""
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
    """Whether only blanks are left; else moves to the next character that is no blank."""
    while True:
      while self._at < len(self._text):
        if not self._text[self._at].isspace():
          return False
        self._at += 1
      if not self._more():
        return True

  def peek(self) -> str:
    """The next character that is no blank; raises ValueError at the end of the file."""
    if self.ended():
      raise ValueError("it ends too early")
    return self._text[self._at]

  def skip(self) -> None:
    self._at += 1

  def value(self) -> Any:
    """The next JSON value; reads more text while the value is incomplete."""
    self.peek()
    while True:
      try:
        value, end = _decoder.raw_decode(self._text, self._at)
        # A number may continue in the next chunk; no other value can.
        if end < len(self._text) or not self._more():
          _check(value, self._text, self._at, end)
          self._at = end
          return value
      except json.JSONDecodeError:
        if not self._more():
          raise

  def _more(self) -> bool:
    """Reads at least as much as is pending, so that the time is linear in a value's length."""
    pending = self._text[self._at :]
    if len(pending) > _LARGEST_MEMBER:
      raise ValueError(f"a member is longer than {_LARGEST_MEMBER} characters")
    chunk = self._file.read(max(_CHUNK, len(pending)))
    self._text, self._at = pending + chunk, 0
    return bool(chunk)


def _check(value: Any, text: str, start: int, end: int) -> None:
  """Raises ValueError if a value, read from this part of the text, exceeds the limits."""
  if _SURROGATE.search(text, start, end):
    json_text.dumps(value, ensure_ascii=False).encode()
  # Hardly any value has enough brackets to nest too deeply.
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
