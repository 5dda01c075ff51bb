"""BM25 search as Lucene does it (k1 0.9, b 0.4), over files that all processes share.

`build` writes an index into a folder within bounded memory, `Index` maps it. Scores are
Lucene's to the bit of its arithmetic: lengths rounded to a byte as it rounds them, float32
impacts, a repeated query word weighing twice; equal scores are ordered by the document's
name, as pyserini orders them.

Why not a BM25 library: bm25s starts JAX when it is imported, keeps exact lengths and leaves
the order of equal scores open; tantivy cannot be given k1 and b.
"""

import array
import bisect
import collections
from collections.abc import Iterable
import mmap
import pathlib

import numpy as np

from empg_jax.envs._shared import analysis

K1, B = 0.9, 0.4
_BLOCK = 1 << 22  # postings in memory while building


def build(folder: pathlib.Path, documents: Iterable[tuple[str, str]]) -> None:
  """Writes the index of `documents`, pairs of a name and a text; their order numbers them."""
  names, lengths, vocabulary = [], [], {}
  raw = folder / "postings.tmp"
  with raw.open("wb") as f:
    block = array.array("i")
    for number, (name, text) in enumerate(documents):
      counts = collections.Counter(analysis.words(text))
      names.append(name)
      lengths.append(counts.total())
      for word, count in counts.items():
        block.extend((vocabulary.setdefault(word, len(vocabulary)), number, count))
      if len(block) >= 3 * _BLOCK:
        block.tofile(f)
        del block[:]
    block.tofile(f)
  _invert(folder, raw, np.array(lengths, np.int64), vocabulary)
  raw.unlink()
  tie_order = np.empty(len(names), np.int32)
  tie_order[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
  np.save(folder / "tie_order.npy", tie_order)


def _invert(
  folder: pathlib.Path, raw: pathlib.Path, lengths: np.ndarray, vocabulary: dict[str, int]
) -> None:
  """Sorts the raw postings (word, document, count) by word, and turns counts into impacts."""
  by_word = sorted(vocabulary, key=str.encode)
  _write_words(folder, by_word)
  rank = np.empty(
    len(by_word), np.int64
  )  # from the number in order of occurrence to the sorted one
  rank[[vocabulary[word] for word in by_word]] = np.arange(len(by_word))
  frequencies = np.zeros(len(by_word), np.int64)
  for block in _blocks(raw):
    frequencies += np.bincount(rank[block[:, 0]], minlength=len(by_word))
  starts = np.concatenate([[0], np.cumsum(frequencies)])
  np.save(folder / "starts.npy", starts)
  total = int(starts[-1])
  open_memmap = np.lib.format.open_memmap
  documents = open_memmap(folder / "documents.npy", "w+", np.int32, (total,))
  impacts = open_memmap(folder / "impacts.npy", "w+", np.float32, (total,))
  idf, inverse_norm = _idf(frequencies, lengths), _inverse_norm(lengths)
  free = starts[:-1].copy()
  for block in _blocks(raw):
    word = rank[block[:, 0]]
    order = np.argsort(word, kind="stable")
    word, (_, document, count) = word[order], block[order].T
    counts = np.bincount(word, minlength=len(by_word))
    first = np.cumsum(counts) - counts
    place = free[word] + np.arange(len(word)) - first[word]
    free += counts
    documents[place] = document
    weight = idf[word]
    impacts[place] = weight - weight / (1 + count.astype(np.float32) * inverse_norm[document])
  documents.flush()
  impacts.flush()


def _idf(frequencies: np.ndarray, lengths: np.ndarray) -> np.ndarray:
  n = np.count_nonzero(lengths)
  return np.log(1 + (n - frequencies + 0.5) / (frequencies + 0.5)).astype(np.float32)


def _inverse_norm(lengths: np.ndarray) -> np.ndarray:
  """1 / (k1 (1 - b + b length / mean length)) of each document, float32."""
  mean = np.float32(lengths.sum() / max(np.count_nonzero(lengths), 1))
  rounded = np.array([_rounded(i) for i in range(int(lengths.max(initial=0)) + 1)], np.float32)
  k1, b = np.float32(K1), np.float32(B)
  return (1 / (k1 * ((1 - b) + b * rounded / np.maximum(mean, 1))))[lengths]


def _rounded(length: int) -> int:
  """A length as Lucene stores it: exact below 40, then with four significant bits above 24."""
  excess = length - 24
  shift = max(excess.bit_length() - 4, 0) if excess > 0 else 0
  return length if excess <= 0 else 24 + (excess >> shift << shift)


def _blocks(raw: pathlib.Path) -> Iterable[np.ndarray]:
  with raw.open("rb") as f:
    while len(block := np.fromfile(f, np.int32, 3 * _BLOCK)):
      yield block.reshape(-1, 3)


def _write_words(folder: pathlib.Path, by_word: list[str]) -> None:
  encoded = [word.encode() for word in by_word]
  (folder / "words.bin").write_bytes(b"".join(encoded) or b"\0")
  np.save(folder / "word_ends.npy", np.cumsum([len(word) for word in encoded], dtype=np.int64))


class Index:
  """An index in a folder, mapped into memory."""

  def __init__(self, folder: pathlib.Path):
    def load(name: str) -> np.ndarray:
      return np.load(folder / f"{name}.npy", mmap_mode="r").view(np.ndarray)

    self._starts, self._documents = load("starts"), load("documents")
    self._impacts, self._tie_order = load("impacts"), load("tie_order")
    self._words = _Words(folder / "words.bin", load("word_ends"))

  def search(self, query: str, limit: int) -> list[int]:
    """The numbers of the best documents for `query`, best first, at most `limit`."""
    return [number for number, _ in self.ranked(query, limit)]

  def ranked(self, query: str, limit: int) -> list[tuple[int, float]]:
    """The numbers of the best documents with their scores."""
    scores = np.zeros(len(self._tie_order))
    for word, weight in collections.Counter(analysis.words(query)).items():
      number = self._words.find(word)
      if number is not None:
        postings = slice(self._starts[number], self._starts[number + 1])
        scores[self._documents[postings]] += weight * self._impacts[postings]
    scores = scores.astype(np.float32)
    worst = 0.0
    if len(scores) > limit:
      worst = np.partition(scores, -limit)[-limit]
    found = np.flatnonzero(scores >= worst if worst > 0 else scores > 0)
    best = np.lexsort((self._tie_order[found], -scores[found]))[:limit]
    return list(zip(found[best].tolist(), scores[found[best]].tolist(), strict=True))


class _Words:
  """The sorted words of an index, searched by bisection: they are not loaded into memory."""

  def __init__(self, path: pathlib.Path, ends: np.ndarray):
    with path.open("rb") as f:
      self._bytes = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    self._ends = ends

  def __len__(self) -> int:
    return len(self._ends)

  def __getitem__(self, number: int) -> bytes:
    start = self._ends[number - 1] if number else 0
    return self._bytes[start : self._ends[number]]

  def find(self, word: str) -> int | None:
    encoded = word.encode()
    number = bisect.bisect_left(self, encoded)
    return number if number < len(self) and self[number] == encoded else None
