"""How an answer is judged: as SQuAD, HotpotQA and Search-R1 do."""

import collections
import re
import string
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize(answer: str) -> str:
  """Lower case, without punctuation and articles, single blanks."""
  text = answer.lower().translate(_NO_PUNCTUATION)
  return " ".join(_ARTICLES.sub(" ", text).split())


def exact_match(answer: str, golden: Sequence[str]) -> bool:
  """Whether `answer` is one of the golden answers, normalised."""
  return normalize(answer) in {normalize(text) for text in golden}


def f1(answer: str, golden: Sequence[str]) -> float:
  """The harmonic mean of precision and recall of words, of the best golden answer, in [0, 1]."""
  return max((_f1(normalize(answer), normalize(text)) for text in golden), default=0.0)


def _f1(answer: str, golden: str) -> float:
  # HotpotQA: half a yes is no answer.
  if answer != golden and {answer, golden} & {"yes", "no", "noanswer"}:
    return 0.0
  said, wanted = answer.split(), golden.split()
  common = (collections.Counter(said) & collections.Counter(wanted)).total()
  return 2 * common / (len(said) + len(wanted)) if common else 0.0
