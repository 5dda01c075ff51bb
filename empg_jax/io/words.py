"""Counts and lists in messages."""

from collections.abc import Iterable


def count(number: int, one: str, more: str | None = None) -> str:
  """A number with its noun: "1 game", "2,000 games".

  Args:
    number: how many.
    one: the noun's singular.
    more: its plural; None: `one` with an s.
  """
  return f"{number:,} {one if number == 1 else more or one + 's'}"


def choices(names: Iterable[object]) -> str:
  """Lists the choices: "there is tiny", "there are tiny, full", "there is nothing"."""
  listed = [str(name) for name in names]
  return f"there {'is' if len(listed) < 2 else 'are'} {', '.join(listed) or 'nothing'}"
