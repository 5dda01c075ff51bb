"""A question, in the form that all sources give."""

from typing import NamedTuple


class Question(NamedTuple):
  """A question and its answers; plain JSON values."""

  text: str
  answers: tuple[str, ...]  # each is right
  titles: tuple[str, ...]  # of the documents that lead there, in order; () if unknown
  kind: str  # its template, or the collection that it is from
