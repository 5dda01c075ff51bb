"""Search: Lucene's words, Lucene's scores."""

import collections
import math

import numpy as np
import pytest

from empg_jax.envs._shared import analysis, bm25

DOCUMENTS = [
  ("B3", "waterproof hiking boots, boots for hikers"),
  ("B1", "hiking socks"),
  ("B2", "hiking socks"),
  ("B0", "the of and"),
  ("B4", " ".join(["boots", *(f"word{i}" for i in range(60))])),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  path = tmp_path_factory.mktemp("index")
  bm25.build(path, DOCUMENTS)
  return path


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("The Men's boots", ["men", "boot"]),
    ("l'oreal wi_fi 12.5x3 1,000", ["l'oreal", "wi_fi", "12.5x3", "1,000"]),
    ("usb-c 3/4 50% #1", ["usb", "c", "3", "4", "50", "1"]),
    ("easily possibly technology technologies", ["easili", "possibl", "technolog", "technolog"]),
    ("a.b. x:y ___", ["a.b", "x:y"]),
    ("\u7eff\u8336 tea", ["\u7eff", "\u8336", "tea"]),
    ("to be or not", []),
  ],
)
def test_words_are_lucenes(text, words):
  assert analysis.words(text) == words


def test_lengths_are_rounded_as_lucene_rounds_them():
  pairs = [
    (0, 0),
    (39, 39),
    (40, 40),
    (41, 40),
    (42, 42),
    (56, 56),
    (59, 56),
    (100, 96),
    (1000, 984),
  ]
  assert [(length, bm25._rounded(length)) for length, _ in pairs] == pairs


def told(query):
  """The scores by the formula, document by document."""
  texts = [analysis.words(text) for _, text in DOCUMENTS]
  filled = [words for words in texts if words]
  mean = sum(map(len, filled)) / len(filled)
  scores = []
  for words in texts:
    score = 0.0
    for word in analysis.words(query):
      having = sum(word in other for other in filled)
      count = words.count(word)
      norm = bm25.K1 * (1 - bm25.B + bm25.B * bm25._rounded(len(words)) / mean)
      idf = math.log(1 + (len(filled) - having + 0.5) / (having + 0.5))
      score += idf * count / (count + norm)
    scores.append(score)
  return scores


@pytest.mark.parametrize("query", ["boots", "hiking boots", "socks socks boots", "word3", "hiker"])
def test_it_finds_the_best_by_bm25(folder, query):
  found = bm25.Index(folder).search(query, 50)
  scores = told(query)
  assert collections.Counter(found) == collections.Counter(np.flatnonzero(scores).tolist())
  np.testing.assert_array_less(np.diff([scores[i] for i in found]), 1e-6)
  ranked = bm25.Index(folder).ranked(query, 50)
  assert [number for number, _ in ranked] == found
  np.testing.assert_allclose([score for _, score in ranked], [scores[i] for i in found], rtol=1e-5)


def test_equal_scores_are_ordered_by_name(folder):
  assert bm25.Index(folder).search("socks", 50) == [1, 2]
  assert bm25.Index(folder).search("socks", 1) == [1]


def test_what_is_not_there_is_not_found(folder):
  for query in ("zzz", "the of", "", "hikin zz"):
    assert bm25.Index(folder).search(query, 50) == []


def test_blocks_make_the_same_index(folder, tmp_path, monkeypatch):
  monkeypatch.setattr(bm25, "_BLOCK", 4)
  bm25.build(tmp_path, DOCUMENTS)
  for path in folder.iterdir():
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()
