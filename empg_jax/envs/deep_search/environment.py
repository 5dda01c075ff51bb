"""Deep Search as an environment, and its tasks."""

from empg_jax.envs import Step
from empg_jax.envs.deep_search import data, pages, scoring
from empg_jax.envs.deep_search.actions import Action, Malformed, parse
from empg_jax.envs.deep_search.corpus import CORPORA, corpus as local_corpus
from empg_jax.envs.deep_search.data import QUESTIONS, SPLITS
from empg_jax.envs.deep_search.questions import Question
from empg_jax.envs.deep_search.remote import Remote
from empg_jax.envs.deep_search.retrieval import Retriever, same_title

_LAST = "\nThis is the last action: answer now."


class DeepSearch:
  """Questions with a search engine, as an `Env`: an answer ends the episode.

  The reward is 1 for an answer that equals a golden one after normalising, else 0.
  `step` answers with info {"won": bool, "f1": of the answer, "recall": the share of the
  supporting documents that a search or a visit has shown (1 if none are known), "searches",
  "visits" and "malformed": how many actions were that, "answer": str or None}.
  """

  def __init__(
    self,
    *,
    corpus: str = "embedded",
    topk: int = 3,
    passage_words: int = 0,
    page_words: int = 300,
    max_actions: int = 15,
  ):
    """Plays any task. The corpus is built here if it is missing, before the first episode.

    Args:
      corpus: "embedded", "files" (see corpus.py), or the address of a server of
        Search-R1's protocol, "http://127.0.0.1:8000".
      topk: how many passages a search shows.
      passage_words: how many words of each, around those of the query; 0 for all.
      page_words: words on a page of a visited document.
      max_actions: the episode ends after this many actions, malformed ones included.
    """
    for name, value, least in (
      ("topk", topk, 1), ("passage_words", passage_words, 0), ("page_words", page_words, 1),
      ("max_actions", max_actions, 1),
    ):  # fmt: skip
      if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value!r}")
    if not _is_address(corpus) and corpus not in CORPORA:
      raise ValueError(
        f"corpus must be one of {', '.join(CORPORA)} or a server's address, got {corpus!r}"
      )
    self._corpus, self._topk, self._max_actions = corpus, topk, max_actions
    self._passage_words, self._page_words = passage_words, page_words
    self._remote = Remote(corpus) if _is_address(corpus) else None
    self._retriever()
    self._question: Question | None = None
    self._done = False

  def reset(self, task: str) -> str:
    """Starts `task`; returns the question.

    Raises:
      ValueError: an unknown task, or a broken file.
      FileNotFoundError: DEEP_SEARCH_DATA names no folder with the files.
    """
    return self.start(data.question(task))

  def start(self, question: Question) -> str:
    """Starts an episode of a question that need not be one of a split's."""
    self._question, self._done = question, False
    self._seen: set[str] = set()
    self._pages: dict[str, int] = {}  # the next page of each visited document
    self._counts = {"searches": 0, "visits": 0, "malformed": 0}
    return f"Question: {question.text}" + _LAST * (self._max_actions == 1)

  def step(self, action: str) -> Step:
    """Plays `action`.

    Raises:
      RetrievalFailed: the server failed; the episode does not count.
    """
    question = self._playing()
    if self._done:
      raise ValueError("this episode has ended: call reset(task) before the next step")
    if not isinstance(action, str):
      raise TypeError(f"an action must be a str, got {type(action).__name__}")
    played, answer = parse(action), None
    match played:
      case Malformed(advice):
        self._counts["malformed"] += 1
        observation = advice
      case Action("search", query):
        observation = self._search(query)
      case Action("visit", title):
        observation = self._visit(title)
      case Action(_, answer):
        observation = "The answer is given."
    left = self._max_actions - sum(self._counts.values())
    self._done = answer is not None or left <= 0
    if left == 1 and not self._done:
      observation += _LAST
    won = answer is not None and scoring.exact_match(answer, question.answers)
    info = {
      "won": won,
      "f1": 0.0 if answer is None else scoring.f1(answer, question.answers),
      "recall": self._recall(question),
      **self._counts,
      "answer": answer,
    }
    return Step(observation, float(won), self._done, info)

  def close(self) -> None:
    """Ends the episode, if there is one."""
    self._question = None

  def _search(self, query: str) -> str:
    self._counts["searches"] += 1
    hits = self._retriever().search(query, self._topk)
    self._seen.update(same_title(hit.passage.title) for hit in hits)
    return pages.results(hits, query, self._passage_words)

  def _visit(self, title: str) -> str:
    """The first page of a document, or the page after the last one that was read."""
    self._counts["visits"] += 1
    passages = self._retriever().document(title)
    if not passages:
      return pages.information(
        f"There is no document {pages.shortened(title)!r}: visit a title that a search has shown."
      )
    key = same_title(title)
    self._seen.add(key)
    number = self._pages.get(key, 0)
    shown, count = pages.page(passages, number, self._page_words)
    self._pages[key] = (number + 1) % count
    return shown

  def _recall(self, question: Question) -> float:
    wanted = {same_title(title) for title in question.titles}
    return len(wanted & self._seen) / len(wanted) if wanted else 1.0

  def _retriever(self) -> Retriever:
    # A process has one corpus, which is not pickled with the episode.
    return self._remote or local_corpus(self._corpus)

  def _playing(self) -> Question:
    if self._question is None:
      raise ValueError("there is no episode yet: call reset(task) before the first step")
    return self._question


def tasks(split: str, *, questions: str = "embedded") -> list[str]:
  """The names of all tasks of a split, always in the same order.

  Args:
    split: "train", "test" or "out_of_domain".
    questions: "embedded", "short" for the embedded ones that need two searches, "files" for
      your own (see data.py), or "tfds:NAME" for published ones (see published.py).

  Raises:
    ValueError: an unknown split or kind of questions, or a broken file.
    FileNotFoundError: DEEP_SEARCH_DATA names no folder with the files, or published
      questions cannot be had.
  """
  for name, value, known in (("split", split, SPLITS), ("questions", questions, QUESTIONS)):
    if value not in known:
      raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
  return data.names(split, questions)


def task_type(task: str) -> str:
  """The template of an embedded question, or the collection of any other."""
  return data.question(task).kind


def _is_address(corpus: str) -> bool:
  return corpus.startswith(("http://", "https://"))
