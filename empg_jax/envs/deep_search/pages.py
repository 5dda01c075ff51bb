"""The agent's observations: search results and the pages of a document."""

import bisect
from collections.abc import Sequence
import re

from empg_jax.envs._shared import analysis
from empg_jax.envs.deep_search.retrieval import Hit, Passage

# The tags that structure an episode are removed from passages.
_TAGS = re.compile(r"</?(?:information|think|action|search|visit|answer)\s*>", re.IGNORECASE)
_TITLE_LENGTH = 120  # characters of a title that are shown
_WORD_LENGTH = 60  # characters of a word that are shown
_BEFORE = 1  # words shown before the first one that fits the query


def results(hits: Sequence[Hit], query: str, words: int) -> str:
  """Search results as in Search-R1, with at most `words` words of each passage; 0 for all."""
  if not hits:
    return information("Nothing was found: search for other words.")
  shown = (
    f"Doc {i}(Title: {shortened(hit.passage.title)}) {excerpt(hit.passage, query, words)}"
    for i, hit in enumerate(hits, 1)
  )
  return information("\n".join(shown))


def page(passages: Sequence[Passage], number: int, words: int) -> tuple[str, int]:
  """Page `number`, from 0, of a document in pages of `words` words, and the number of pages."""
  text = " ".join(passage.text for passage in passages).split()
  count = max(-(-len(text) // words), 1)
  number %= count
  shown = " ".join(_cut(text[number * words : (number + 1) * words]))
  more = "" if count == 1 else f" Page {number + 1} of {count}."
  if number + 1 < count:
    more += " Visit it again for the next one."
  return information(f"(Title: {shortened(passages[0].title)}) {shown}{more}"), count


def information(text: str) -> str:
  """The text between Search-R1's tags."""
  # Without its tags, a text may form a new one: "</infor<think>mation>".
  text = _TAGS.sub("...", _TAGS.sub("", text))
  return f"<information>{text}</information>"


def shortened(title: str) -> str:
  """A title, shortened for display."""
  return title[:_TITLE_LENGTH]


def excerpt(passage: Passage, query: str, words: int) -> str:
  """The part of a passage with the most query words that are not in the title."""
  text = passage.text.split()
  if not words or len(text) <= words:
    return " ".join(_cut(text))
  wanted = set(analysis.words(query)) - set(analysis.words(passage.title))
  fits = [(i, stem) for i, word in enumerate(text) for stem in analysis.words(word)
          if stem in wanted]  # fmt: skip
  places = [i for i, _ in fits]

  def value(start: int) -> int:
    first, end = (bisect.bisect_left(places, place) for place in (start, start + words))
    return len({stem for _, stem in fits[first:end]})

  starts = [0, *(max(min(i - _BEFORE, len(text) - words), 0) for i, _ in fits)]
  start = max(starts, key=value)  # the first of the best
  before, after = "..." * (start > 0), "..." * (start + words < len(text))
  return before + " ".join(_cut(text[start : start + words])) + after


def _cut(words: Sequence[str]) -> list[str]:
  """Shortens words, so that nothing the agent reads is unbounded."""
  return [word[:_WORD_LENGTH] for word in words]
