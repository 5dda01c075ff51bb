"""A question, as all of its sources give it."""

from typing import NamedTuple


class Question(NamedTuple):
  """What is asked, and what is known about the answer; plain JSON values."""

  text: str
  answers: tuple[str, ...]  # each is right
  titles: tuple[str, ...]  # of the documents that lead there, in order; () if unknown
  kind: str  # its template, or the collection that it is from
