"""Questions of the usual collections, read from their published files.

A file is JSON lines, or one JSON list (or {"data": [..]}); an entry is recognised by its keys:

    Search-R1, FlashRAG   question, golden_answers [..]; titles from metadata if there are any
    HotpotQA, 2Wiki       question, answer, supporting_facts [[title, n], ..] or {"title": [..]}
    MuSiQue               question, answer, answer_aliases [..], paragraphs [{title, is_supporting}]
    Bamboogle             Question, Answer
    NQ-open               question, answer [..]
    TriviaQA              question, answer {value, aliases [..]}; capital keys in its own files
    WebWalkerQA           question, answer, root_url, info {..}
"""

from collections.abc import Iterable, Iterator
import math
import pathlib
from typing import Any

from empg_jax.envs._shared import json_files
from empg_jax.envs.deep_search.questions import Question

SUFFIXES = (".jsonl", ".json")


def read(path: pathlib.Path) -> Iterator[Question]:
  """The questions of a file, of the kind that its name says.

  Raises:
    ValueError: an entry is broken, or of none of these forms; the message says which.
  """
  for place, entry in _entries(path):
    asked = question(entry, path.stem)
    if asked is None:
      raise ValueError(
        f"{path}, {place} is {entry!r:.100}: want an object with a question and its answer"
        ' in one of the known forms, such as {"question": "..", "golden_answers": [".."]}'
      )
    yield asked


def question(entry: Any, kind: str) -> Question | None:
  """The question of an entry; None if it is of none of the forms."""
  if not isinstance(entry, dict):
    return None
  text = entry.get("question", entry.get("Question"))
  answers = _texts(_answers(entry))
  if not isinstance(text, str) or not text.strip() or not answers:
    return None
  return Question(" ".join(text.split()), answers, _texts(_titles(entry)), kind)


def _entries(path: pathlib.Path) -> Iterator[tuple[str, Any]]:
  """Yields the entries, each with its place for messages."""
  if path.suffix == ".jsonl":
    yield from ((f"line {number}", entry) for number, entry in json_files.lines(path))
  else:
    yield from ((f"entry {number}", entry) for number, entry in enumerate(_members(path), 1))


def _members(path: pathlib.Path) -> Iterable[Any]:
  """The members of a list, or of an object's list "data", such as TriviaQA's "Data"."""
  with path.open(encoding="utf-8", errors="replace") as f:
    start = f.read(1000).lstrip("\ufeff \t\r\n")[:1]
  if start != "{":
    yield from json_files.items(path)
    return
  for key, value in json_files.entries(path):
    if key.lower() == "data" and isinstance(value, list):
      yield from value
      return
  raise ValueError(f"{path} is an object without a list as 'data': want a list of questions")


def _answers(entry: dict[str, Any]) -> list[Any]:
  if isinstance(entry.get("golden_answers"), list):
    return entry["golden_answers"]
  answer = entry.get("answer", entry.get("Answer"))
  if isinstance(answer, dict):  # TriviaQA
    low = {key.lower(): value for key, value in answer.items()}
    return [low.get("value"), *_list(low.get("aliases"))]
  return [*(answer if isinstance(answer, list) else [answer]), *_list(entry.get("answer_aliases"))]


def _titles(entry: dict[str, Any]) -> list[Any]:
  """Titles of the supporting documents, each once; none if the collection has none."""
  metadata = entry.get("metadata")
  facts = entry.get("supporting_facts") or (
    metadata.get("supporting_facts") if isinstance(metadata, dict) else None
  )
  if isinstance(facts, dict):
    return _list(facts.get("title"))
  if facts:
    return [fact[0] for fact in _list(facts) if isinstance(fact, list) and fact]
  return [
    paragraph.get("title")
    for paragraph in _list(entry.get("paragraphs"))
    if isinstance(paragraph, dict) and paragraph.get("is_supporting")
  ]


def _list(value: Any) -> list[Any]:
  return value if isinstance(value, list) else []


def _texts(values: list[Any]) -> tuple[str, ...]:
  """The texts among the values, each once; answers of 2Wiki and others may be numbers."""
  texts = (str(v) if _is_number(v) else v for v in values)
  return tuple(dict.fromkeys(v.strip() for v in texts if isinstance(v, str) and v.strip()))


def _is_number(value: Any) -> bool:
  """Whether a value is a number; NaN is none, as tables have it for missing answers."""
  if isinstance(value, float):
    return math.isfinite(value)
  return isinstance(value, int) and not isinstance(value, bool)
