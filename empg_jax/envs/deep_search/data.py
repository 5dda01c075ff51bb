"""The questions of a split: embedded ones, published ones, or those of your own files.

    $DEEP_SEARCH_DATA/corpus.jsonl                        see corpus.py
    $DEEP_SEARCH_DATA/questions/SPLIT/COLLECTION.jsonl    see question_files.py; also .json

A task's name is `embedded/SPLIT/NUMBER`, `files/SPLIT/COLLECTION/NUMBER` or
`tfds/SPLIT/NAME/NUMBER` (see published.py).
"""

from collections.abc import Callable, Iterable, Sequence
import functools
import hashlib
import pathlib

from empg_jax.envs._shared import disk
from empg_jax.envs.deep_search import embedded, published, question_files
from empg_jax.envs.deep_search.corpus import HINT, data_folder
from empg_jax.envs.deep_search.questions import Question
from empg_jax.io import cache

SPLITS = embedded.SPLITS
_TFDS = {f"tfds:{name}": name for name in published.NAMES}
# "short": the embedded questions that take two searches.
QUESTIONS = ("embedded", "short", "files", *_TFDS)
_QUESTIONS = "questions/*/*"  # of the folder
VERSION = 1  # a change of what the same files give needs a new one


def names(split: str, questions: str) -> list[str]:
  """The tasks of a split; errors as for `environment.tasks`."""
  if questions == "files":
    collections = _paths(split, data_folder(_QUESTIONS))
    return [
      f"files/{split}/{name}/{number}"
      for name in collections
      for number in range(len(_collection(split, name)))
    ]
  if name := _TFDS.get(questions):
    return [f"tfds/{split}/{name}/{number}" for number in range(len(_published(split, name)))]
  found = embedded.questions(split)
  longest = 2 if questions == "short" else 99
  return [f"embedded/{split}/{i}" for i, q in enumerate(found) if len(q.titles) <= longest]


def splits(questions: str) -> tuple[str, ...]:
  """The existing SPLITS; raises FileNotFoundError if DEEP_SEARCH_DATA names no folder."""
  if questions == "files":
    folder = data_folder(_QUESTIONS)
    return tuple(split for split in SPLITS if _files(split, folder))
  return tuple(published.SPLITS) if questions in _TFDS else SPLITS


def digest(questions: str) -> str:
  """Identifies the questions by their files; errors as for `splits`."""
  if questions == "files":
    folder = data_folder(_QUESTIONS)
    return disk.digest([path for split in SPLITS for path in _files(split, folder)])
  if questions in _TFDS:
    return published.digest()
  return hashlib.sha256(embedded.QUESTIONS.read_bytes()).hexdigest()[:12]


def question(task: str) -> Question:
  """The question of a task; raises ValueError if there is no such task."""
  match str(task).split("/"):
    case "embedded", split, number if split in SPLITS:
      found: Sequence[Question] = embedded.questions(split)
    case "files", split, name, number if split in SPLITS:
      found = _collection(split, name)
    case "tfds", split, *name, number if split in SPLITS and "/".join(name) in published.NAMES:
      found = _published(split, "/".join(name))
    case _:
      found, number = (), ""
  if not number.isdecimal() or int(number) >= len(found):
    raise ValueError(f"there is no task {task!r}: take one from tasks(split, questions)")
  return found[int(number)]


def _collection(split: str, name: str) -> Sequence[Question]:
  path = _paths(split, data_folder(_QUESTIONS)).get(name)
  return _of_file(path, disk.digest([path])) if path else ()


@functools.cache
def _of_file(path: pathlib.Path, digest: str) -> Sequence[Question]:
  return _stored(f"questions-{path.stem}-{digest}", lambda: question_files.read(path))


def _published(split: str, name: str) -> Sequence[Question]:
  if split not in published.SPLITS:
    raise ValueError(
      f"tfds:{name} has no split {split}: evaluate on test alone,"
      " --config.evaluation.splits=\"('test',)\""
    )
  return _of_tfds(name, split, published.digest())


@functools.cache
def _of_tfds(name: str, split: str, digest: str) -> Sequence[Question]:
  key = f"questions-{name.replace('/', '-')}-{split}-{digest}"
  return _stored(key, lambda: published.read(name, split))


def _paths(split: str, folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """The files of a split by the names of their collections, in order."""
  paths = _files(split, folder)
  if not paths:
    home = folder / "questions" / split
    raise FileNotFoundError(f"there is no .jsonl or .json file in {home}: {HINT}")
  return {path.stem: path for path in paths}


def _files(split: str, folder: pathlib.Path) -> list[pathlib.Path]:
  there = (folder / "questions" / split).glob("*")
  suffixes = question_files.SUFFIXES
  return sorted(path for path in there if path.suffix in suffixes and path.is_file())


def _stored(key: str, read: Callable[[], Iterable[Question]]) -> Sequence[Question]:
  """The questions that `read` returns, written to disk once and mapped by all processes."""
  folder = cache.folder_for("deep_search", f"{key}-v{VERSION}")

  def build(draft: pathlib.Path) -> None:
    with disk.Writer(draft / "questions") as writer:
      for question in read():
        writer.add(question)

  cache.build_once(folder, build)
  return _Stored(disk.Records(folder / "questions"))


class _Stored(Sequence[Question]):
  def __init__(self, records: disk.Records):
    self._records = records

  def __len__(self) -> int:
    return len(self._records)

  def __getitem__(self, number: int) -> Question:
    text, answers, titles, kind = self._records[number]
    return Question(text, tuple(answers), tuple(titles), kind)
