"""Which questions a split holds: embedded ones, or those of your own files.

    $DEEP_SEARCH_DATA/corpus.jsonl                        see corpus.py
    $DEEP_SEARCH_DATA/questions/SPLIT/COLLECTION.jsonl    see question_files.py; also .json

A task's name is `embedded/SPLIT/NUMBER`, or `files/SPLIT/COLLECTION/NUMBER`.
"""

import functools
import pathlib
from collections.abc import Sequence

from empg_jax.envs._shared import disk
from empg_jax.envs.deep_search import embedded, question_files
from empg_jax.envs.deep_search.corpus import HINT, data_folder
from empg_jax.envs.deep_search.questions import Question

SPLITS = embedded.SPLITS
# "short": the embedded questions that take two searches.
QUESTIONS = ("embedded", "short", "files")
VERSION = 1  # raised when the same files would give other questions


def names(split: str, questions: str) -> list[str]:
  """The tasks of a split; errors as for `environment.tasks`."""
  if questions == "files":
    collections = _paths(split, str(data_folder()))
    return [
        f"files/{split}/{name}/{number}"
        for name in collections
        for number in range(len(_collection(split, name)))
    ]
  found = embedded.questions(split)
  longest = 2 if questions == "short" else 99
  return [f"embedded/{split}/{i}" for i, q in enumerate(found) if len(q.titles) <= longest]


def question(task: str) -> Question:
  """The question of a task; ValueError if there is none of this name."""
  match str(task).split("/"):
    case "embedded", split, number if split in SPLITS:
      found: Sequence[Question] = embedded.questions(split)
    case "files", split, name, number if split in SPLITS:
      found = _collection(split, name)
    case _:
      found, number = (), ""
  if not number.isdecimal() or int(number) >= len(found):
    raise ValueError(f"there is no task {task!r}: take one from tasks(split, questions)")
  return found[int(number)]


def _collection(split: str, name: str) -> Sequence[Question]:
  path = _paths(split, str(data_folder())).get(name)
  return _Stored(_built(path, disk.digest([path]))) if path else ()


def _paths(split: str, folder: str) -> dict[str, pathlib.Path]:
  """The files of a split by the names of their collections, in order."""
  home = pathlib.Path(folder) / "questions" / split
  paths = sorted(p for p in home.glob("*") if p.suffix in question_files.SUFFIXES)
  if not paths:
    raise FileNotFoundError(f"there is no .jsonl or .json file in {home}: {HINT}")
  return {path.stem: path for path in paths}


@functools.cache
def _built(path: pathlib.Path, digest: str) -> disk.Records:
  """The questions of a file, written down once so that no process has to hold them all."""
  folder = disk.folder_for("deep_search", f"questions-{path.stem}-{digest}-v{VERSION}")

  def build(draft: pathlib.Path) -> None:
    with disk.Writer(draft / "questions") as writer:
      for question in question_files.read(path):
        writer.add(question)

  disk.build_once(folder, build)
  return disk.Records(folder / "questions")


class _Stored(Sequence[Question]):
  def __init__(self, records: disk.Records):
    self._records = records

  def __len__(self) -> int:
    return len(self._records)

  def __getitem__(self, number: int) -> Question:
    text, answers, titles, kind = self._records[number]
    return Question(text, tuple(answers), tuple(titles), kind)
