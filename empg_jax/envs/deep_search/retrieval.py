"""The interface between an environment and a search engine."""

from typing import NamedTuple, Protocol, runtime_checkable


class Passage(NamedTuple):
  """A part of a document. `contents` has the form of Search-R1's files and servers."""

  id: str
  title: str
  text: str

  @property
  def contents(self) -> str:
    return f'"{self.title}"\n{self.text}'


class Hit(NamedTuple):
  """A passage and its score for the query."""

  passage: Passage
  score: float


@runtime_checkable
class Retriever(Protocol):
  """A search engine over passages."""

  def search(self, query: str, limit: int) -> list[Hit]:
    """The best passages for `query`, best first, at most `limit`.

    Raises:
      RetrievalFailed: the search engine failed.
    """
    ...

  def document(self, title: str) -> list[Passage]:
    """The passages of the document with this title, in order; none if there is none.

    The title's case and the blanks around it do not matter. Raises as `search` does.
    """
    ...


class RetrievalFailed(RuntimeError):
  """A search engine failed. The agent is not at fault, so the episode does not count."""


def parse_contents(id: str, contents: str) -> Passage:
  """Parses Search-R1's `contents`: a title, with or without quotes, a line break, a text."""
  title, _, text = contents.partition("\n")
  title = title.strip()
  if len(title) > 1 and title[0] == title[-1] == '"':
    title = title[1:-1]
  return Passage(id, title.strip(), text.strip())


def same_title(title: str) -> str:
  """The form of a title in which its spellings are equal."""
  return " ".join(title.split()).casefold()
