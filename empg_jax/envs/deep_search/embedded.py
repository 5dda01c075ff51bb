"""The corpus and the questions that ship with the package.

    python -m empg_jax.envs.deep_search

makes the same ones again, from the packages named in sources/__init__.py.
"""

from collections.abc import Iterable, Iterator
import functools
import hashlib
import json
import lzma
import pathlib

from empg_jax.envs.deep_search.questions import Question
from empg_jax.envs.deep_search.retrieval import Passage
from empg_jax.io import json_text

FOLDER = pathlib.Path(__file__).parent / "assets"
PASSAGES = FOLDER / "passages.json.xz"
QUESTIONS = FOLDER / "questions.json.xz"
SPLITS = ("train", "test", "out_of_domain")


def passages() -> Iterator[Passage]:
  """All passages, numbered in order."""
  number = 0
  for title, texts in json.loads(lzma.decompress(PASSAGES.read_bytes())):
    for text in texts:
      yield Passage(str(number), title, text)
      number += 1


@functools.cache
def digest() -> str:
  """Identifies this corpus."""
  return hashlib.sha256(PASSAGES.read_bytes()).hexdigest()[:12]


@functools.cache
def questions(split: str) -> tuple[Question, ...]:
  """The questions of one of SPLITS."""
  return tuple(
    Question(text, tuple(answers), tuple(titles), kind)
    for text, answers, titles, kind in _questions()[split]
  )


@functools.cache
def _questions() -> dict[str, list]:
  return json.loads(lzma.decompress(QUESTIONS.read_bytes()))


def write(documents: Iterable[tuple[str, list[str]]], splits: dict[str, list[Question]]) -> None:
  """Writes both files."""
  FOLDER.mkdir(exist_ok=True)
  for path, content in ((PASSAGES, list(documents)), (QUESTIONS, splits)):
    text = json_text.dumps(content, ensure_ascii=False, separators=(",", ":"))
    path.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
    print(f"wrote {path} ({path.stat().st_size / 1e6:.2f} MB)")
