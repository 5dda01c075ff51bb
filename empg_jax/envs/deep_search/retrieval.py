"""What an environment asks of whatever finds passages for it."""

from typing import NamedTuple, Protocol, runtime_checkable


class Passage(NamedTuple):
  """A piece of a document. `contents` is how Search-R1's files and servers write it."""

  id: str
  title: str
  text: str

  @property
  def contents(self) -> str:
    return f'"{self.title}"\n{self.text}'


class Hit(NamedTuple):
  """A passage that was found, and how well it fits the query."""

  passage: Passage
  score: float


@runtime_checkable
class Retriever(Protocol):
  """A search engine over passages."""

  def search(self, query: str, limit: int) -> list[Hit]:
    """The best passages for `query`, best first, at most `limit`.

    Raises:
      RetrievalFailed: it could not be asked.
    """
    ...

  def document(self, title: str) -> list[Passage]:
    """The passages of the document with this title, in order; none if there is none.

    The title's case and the blanks around it do not matter. Raises as `search` does.
    """
    ...


class RetrievalFailed(RuntimeError):
  """A retriever could not be asked: no fault of the agent, so its episode does not count."""


def parse_contents(id: str, contents: str) -> Passage:
  """The passage of Search-R1's `contents`: a title, in quotes or not, a line break, a text."""
  title, _, text = contents.partition("\n")
  title = title.strip()
  if len(title) > 1 and title[0] == title[-1] == '"':
    title = title[1:-1]
  return Passage(id, title.strip(), text.strip())


def same_title(title: str) -> str:
  """What two spellings of a title have in common."""
  return " ".join(title.split()).casefold()
