"""How a message counts and lists."""

from collections.abc import Iterable


def count(number: int, one: str, more: str | None = None) -> str:
  """`number` things by their name: "1 game", "2,000 games".

  Args:
    number: how many.
    one: what a single one is called.
    more: what several are called; default: `one` with an s.
  """
  return f"{number:,} {one if number == 1 else more or one + 's'}"


def choices(names: Iterable[object]) -> str:
  """What there is to choose from: "there is tiny", "there are tiny, full", "there is nothing"."""
  listed = [str(name) for name in names]
  return f"there {'is' if len(listed) < 2 else 'are'} {', '.join(listed) or 'nothing'}"
