"""A corpus on disk with its search index, built once and mapped by all processes.

`corpus("embedded")` is the one that ships with the package, `corpus("files")` the file
corpus.jsonl in the folder that DEEP_SEARCH_DATA names, in Search-R1's form:

    {"id": "0", "contents": "\\"Title\\"\\ntext"}
"""

from collections.abc import Iterable, Iterator
import functools
import hashlib
import os
import pathlib

import numpy as np

from empg_jax.envs._shared import bm25, copies, disk, json_files
from empg_jax.envs.deep_search import embedded
from empg_jax.envs.deep_search.retrieval import Hit, Passage, parse_contents, same_title
from empg_jax.io import cache, paths

VERSION = 1  # a change of what the same passages give needs a new one
CORPORA = ("embedded", "files")
FILE = "corpus.jsonl"
HINT = "set DEEP_SEARCH_DATA to the folder of your files, or take 'embedded'"


class Corpus:
  """A built corpus, searched with BM25; its values are read from mapped files."""

  def __init__(self, folder: pathlib.Path):
    self._passages = disk.Records(folder / "passages")
    self._index = bm25.Index(folder)
    self._keys = np.load(folder / "title_keys.npy", mmap_mode="r").view(np.ndarray)
    self._numbers = np.load(folder / "title_numbers.npy", mmap_mode="r").view(np.ndarray)

  def __len__(self) -> int:
    """The number of passages."""
    return len(self._passages)

  def __getitem__(self, number: int) -> Passage:
    return Passage(*self._passages[number])

  def search(self, query: str, limit: int) -> list[Hit]:
    return [Hit(self[number], score) for number, score in self._index.ranked(query, limit)]

  def document(self, title: str) -> list[Passage]:
    wanted = same_title(title)
    first, last = (np.searchsorted(self._keys, _key(wanted), side) for side in ("left", "right"))
    passages = [self[int(number)] for number in self._numbers[first:last]]
    return [passage for passage in passages if same_title(passage.title) == wanted]


def corpus(name: str) -> Corpus:
  """The corpus of a name, one of CORPORA, built if it is missing.

  Raises:
    ValueError: an unknown name, or a broken file.
    FileNotFoundError: DEEP_SEARCH_DATA names no folder with a corpus.jsonl.
  """
  if name == "embedded":
    return _open(_embedded_folder())
  if name == "files":
    return from_file(data_folder(FILE) / FILE)
  raise ValueError(f"corpus must be one of {', '.join(CORPORA)}, got {name!r}")


def from_file(path: pathlib.Path) -> Corpus:
  """The corpus of a JSONL file, built if it is missing; errors as for `corpus`."""
  if not path.is_file():
    raise FileNotFoundError(f"there is no file {path}: {HINT}")
  folder = cache.folder_for("deep_search", f"corpus-{disk.digest([path])}-v{VERSION}")
  cache.build_once(folder, lambda draft: build(draft, read(path)))
  return _open(folder)


def data_folder(names: str) -> pathlib.Path:
  """The folder that DEEP_SEARCH_DATA names, on a disk; raises FileNotFoundError without one.

  `names`: a pattern of the needed files, if the folder is in a bucket.
  """
  named = os.environ.get("DEEP_SEARCH_DATA")
  if not named:
    raise FileNotFoundError(f"your own corpus and questions are not set up: {HINT}")
  return copies.local(paths.expanded(named), [names]).resolve()


def read(path: pathlib.Path) -> Iterator[Passage]:
  """Yields the passages of a JSONL file; raises ValueError at the first invalid line."""
  for number, record in json_files.lines(path):
    contents = record.get("contents") if isinstance(record, dict) else None
    if not isinstance(contents, str) or not isinstance(record.get("id"), str | int):
      raise ValueError(
        f"{path}, line {number} is {record!r:.80}: want"
        ' {"id": "0", "contents": "\\"Title\\"\\ntext"}'
      )
    yield parse_contents(str(record["id"]), contents)


def build(folder: pathlib.Path, passages: Iterable[Passage]) -> None:
  """Writes passages, index and table of titles into an empty folder."""
  keys: list[int] = []

  def written(writer: disk.Writer) -> Iterator[tuple[str, str]]:
    for number, passage in enumerate(passages):
      writer.add(passage)
      keys.append(_key(same_title(passage.title)))
      # A title counts twice: a document's subject matters more than what it mentions.
      yield f"{number:012d}", f"{passage.title}\n{passage.title}\n{passage.text}"

  with disk.Writer(folder / "passages") as writer:
    bm25.build(folder, written(writer))
  order = np.argsort(np.array(keys, np.uint64), kind="stable")
  np.save(folder / "title_keys.npy", np.array(keys, np.uint64)[order])
  np.save(folder / "title_numbers.npy", order.astype(np.int64))


def _key(title: str) -> np.uint64:
  return np.uint64(int.from_bytes(hashlib.blake2b(title.encode(), digest_size=8).digest()))


@functools.cache
def _embedded_folder() -> pathlib.Path:
  folder = cache.folder_for("deep_search", f"embedded-{embedded.digest()}-v{VERSION}")
  cache.build_once(folder, lambda draft: build(draft, embedded.passages()))
  return folder


@functools.cache
def _open(folder: pathlib.Path) -> Corpus:
  return Corpus(folder)
