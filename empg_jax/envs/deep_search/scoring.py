"""Scores answers as SQuAD, HotpotQA and Search-R1 do."""

import collections
from collections.abc import Iterator, Sequence
import re
import string

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_SYMBOLS = set("#+")  # which distinguish C, C# and C++
_AROUND = "".join({*string.punctuation, " "} - _SYMBOLS)


def normalize(answer: str) -> str:
  """Lower case, without punctuation and articles, single blanks."""
  text = answer.lower().translate(_NO_PUNCTUATION)
  return " ".join(_ARTICLES.sub(" ", text).split())


def exact_match(answer: str, golden: Sequence[str]) -> bool:
  """Whether `answer` is one of the golden answers, normalised."""
  return any(said == wanted for said, wanted in _pairs(answer, golden))


def f1(answer: str, golden: Sequence[str]) -> float:
  """The harmonic mean of precision and recall of words, of the best golden answer, in [0, 1]."""
  return max((_f1(*pair) for pair in _pairs(answer, golden)), default=0.0)


def _pairs(answer: str, golden: Sequence[str]) -> Iterator[tuple[str, str]]:
  """Pairs of the answer and each golden one, in the form in which they are compared.

  They are normalised, unless this leaves nothing to compare: normalised, "A" is empty, and "C#"
  equals "C++".
  """
  said = normalize(answer)
  for text in golden:
    wanted = normalize(text)
    only_symbols = said == wanted and len(said) == 1 and said.isalpha()
    if wanted and not (only_symbols and _SYMBOLS & {*answer, *text}):
      yield said, wanted
    else:
      yield _as_it_is(answer), _as_it_is(text)


def _as_it_is(answer: str) -> str:
  """Lower case and single blanks, without punctuation at the ends unless that is all."""
  text = " ".join(answer.lower().split())
  return text.strip(_AROUND) or text.rstrip(" .")


def _f1(answer: str, golden: str) -> float:
  # HotpotQA: half a yes is no answer.
  if answer != golden and {answer, golden} & {"yes", "no", "noanswer"}:
    return 0.0
  said, wanted = answer.split(), golden.split()
  common = (collections.Counter(said) & collections.Counter(wanted)).total()
  return 2 * common / (len(said) + len(wanted)) if common else 0.0
