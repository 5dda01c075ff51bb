"""Text to search words, as Lucene's English analyzer has it (pyserini's default).

Unicode word breaks, no possessive 's, lower case, Lucene's 33 stop words, and Porter stems
with the three deviations of Porter's own Java program, which Lucene uses. The word breaks
are exact, except for scripts without blanks other than Chinese characters and Hiragana, and
for words of more than 255 characters.
"""

import functools
import re

import Stemmer

STOP_WORDS = frozenset(
  "a an and are as at be but by for if in into is it no not of on or such that the their"
  " then there these they this to was will with".split()
)

_ALONE = "\u3040-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # each a word of its own
_NUMERIC_SIGNS = "²³¹¼½¾"  # letters in Python; Unicode breaks words at them
_IN_WORD = rf"[^\W{_ALONE}{_NUMERIC_SIGNS}]"
_LETTER = rf"[^\W\d_{_ALONE}{_NUMERIC_SIGNS}]"
_BETWEEN_LETTERS = "[:\u00b7\u2027.'\u2018\u2019\u2024\uff07\uff0e]"
_BETWEEN_DIGITS = "[,;\u2044.'\u2018\u2019\u2024\uff07\uff0e]"
_WORD = re.compile(
  rf"[{_ALONE}]|{_IN_WORD}+(?:(?:(?<={_LETTER}){_BETWEEN_LETTERS}(?={_LETTER})"
  rf"|(?<=\d){_BETWEEN_DIGITS}(?=\d)){_IN_WORD}+)*"
)
_POSSESSIVE = ("'s", "\u2019s", "\uff07s")

_porter = Stemmer.Stemmer("porter")
# Rules of Porter's program that his paper lacks: -bli becomes -ble, -logi becomes -log. Both apply
# after the plural and the final y are removed, so they can be applied before the stemmer.
_DEPARTURES = (
  ("blies", "ble"), ("bly", "ble"), ("bli", "ble"),
  ("logies", "log"), ("logy", "log"), ("logi", "log"),
)  # fmt: skip


def words(text: str) -> list[str]:
  """The stems of `text`, in order, with repetitions."""
  stems = (_stem(word) for word in _WORD.findall(text.lower()))
  return [stem for stem in stems if stem]


@functools.lru_cache(maxsize=1 << 16)
def _stem(word: str) -> str:
  """The stem, or "" for a stop word or a text that is no word."""
  if word.endswith(_POSSESSIVE):
    word = word[:-2]
  if word in STOP_WORDS or not word.strip("_"):
    return ""
  if len(word) <= 2:
    return word
  for ending, departure in _DEPARTURES:
    if word.endswith(ending) and _has_measure(word.removesuffix(ending)):
      word = word.removesuffix(ending) + departure
      break
  return _porter.stemWord(word)


def _has_measure(stem: str) -> bool:
  """Porter's m > 0: some vowel is followed by a consonant."""
  vowel = seen = False
  for i, letter in enumerate(stem):
    vowel = letter in "aeiou" or (letter == "y" and i > 0 and not vowel)
    if seen and not vowel:
      return True
    seen = seen or vowel
  return False
