"""A reply's text, token by token."""

from collections.abc import Callable, Sequence
import functools


def splitter(text: Callable[[Sequence[int]], str]) -> Callable[[Sequence[int]], list[str]]:
  """A function from a reply's ids to the part of its text that each of them adds.

  The joined parts are `text(ids)` (Chat.text). A token that adds nothing by itself has "": the
  end of a reply, and all but the last of the tokens that share one character.
  """

  @functools.cache
  def after(previous: int, token: int) -> str | None:
    before, both = text([previous]), text([previous, token])
    whole = both.startswith(before) and "\ufffd" not in both
    return both[len(before) :] if whole else None

  def split(ids: Sequence[int]) -> list[str]:
    found = [text(ids[:1]), *map(after, ids, ids[1:])]
    # The token before nearly always determines what a token adds.
    if None in found or "".join(found) != text(ids):
      return _by_prefixes(text, list(ids))
    return found[: len(ids)]

  return split


def _by_prefixes(text: Callable[[Sequence[int]], str], ids: list[int]) -> list[str]:
  """The same by decoding every prefix of the reply."""
  whole, found, done = text(ids), [], ""
  for count in range(1, len(ids) + 1):
    so_far = text(ids[:count])
    # A character that is incomplete, or that a later token changes, is added later.
    grown = so_far if whole.startswith(so_far) and len(so_far) > len(done) else done
    found.append(grown[len(done) :])
    done = grown
  if found:
    found[-1] += whole[len(done) :]
  return found
