"""Demonstrations with invented names, which a policy can only copy from the text.

A small policy that is cloned from a thousand questions memorizes their names, and writes a new
name as one that it knows. With names that never repeat, it has to copy.
"""

import random
import re

from empg_jax.envs import Demonstration

_WORD = re.compile(r"\w+")
_CLASSES = ("aeiouyáéíóúàèäëïöüåæøâêôãõ", "bcdfghjklmnpqrstvwxzçñßš", "0123456789")
_DRAWN = ("aeiou", "bcdfghjklmnprstvwz", "0123456789")


def renamed(demo: Demonstration, rng: random.Random, fixed: frozenset[str]) -> Demonstration:
  """The same episode with each word that the expert copied replaced by another one everywhere.

  Args:
    demo: its thoughts and actions determine those words.
    rng: draws the other words.
    fixed: words, in lower case, that are not replaced.
  """
  said = " ".join(f"{turn.thought} {turn.action}" for turn in demo.turns)
  copied = sorted({word.lower() for word in _WORD.findall(said)} - fixed)
  others = {word: _other(word, rng) for word in copied}

  def replace(match: re.Match) -> str:
    word = match.group()
    other = others.get(word.lower(), word.lower())
    return _like(word, other) if word.lower() in others else word

  texts = ("observation", "thought", "action")
  turns = (
    turn._replace(**{name: _WORD.sub(replace, getattr(turn, name)) for name in texts})
    for turn in demo.turns
  )
  return demo._replace(turns=tuple(turns))


def _other(word: str, rng: random.Random) -> str:
  """Letters and digits of the same kinds."""
  return "".join(_drawn(character, rng) for character in word)


def _drawn(character: str, rng: random.Random) -> str:
  for kind, drawn in zip(_CLASSES, _DRAWN):
    if character in kind:
      return rng.choice(drawn)
  return character


def _like(word: str, other: str) -> str:
  """`other` with the capitals of `word`."""
  return "".join(b.upper() if a.isupper() else b for a, b in zip(word, other))
