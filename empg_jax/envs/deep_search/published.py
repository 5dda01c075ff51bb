"""Questions for which TensorFlow Datasets has builders, as these prepare them.

    python launch/train.py --config=configs/deep_search.py:qwen2.5-7b --config.model.path=FOLDER
      --config.tasks.questions=tfds:natural_questions_open --config.evaluation.splits="('test',)"

`natural_questions_open` has the questions of `natural_questions` with a short answer, without
its 42 GB of pages; `trivia_qa/unfiltered.nocontext` has all of TriviaQA's, without documents.
They are read from TFDS_DATA_DIR, or ~/tensorflow_datasets, and downloaded to it if missing.
"""

from collections.abc import Iterator
import hashlib
import importlib.util
import os
import pathlib
import textwrap
from typing import Any

from empg_jax.envs.deep_search import question_files
from empg_jax.envs.deep_search.questions import Question
from empg_jax.io import paths

NAMES = ("natural_questions_open", "trivia_qa/unfiltered.nocontext")
# The answers of TriviaQA's test split are not published, and NQ-open has no test split.
SPLITS = {"train": "train", "test": "validation"}


def digest() -> str:
  """Identifies the folder of the prepared questions."""
  return hashlib.sha256(str(_home()).encode()).hexdigest()[:12]


def read(name: str, split: str) -> Iterator[Question]:
  """The questions of a split, one of SPLITS; of the kind that the name says.

  Raises:
    FileNotFoundError: they are not prepared, and cannot be; the message says why.
    ValueError: a record has no question or no answer.
  """
  kind = name.partition("/")[0]
  for number, record in enumerate(_records(name, SPLITS[split])):
    entry = {key: _plain(record[key]) for key in ("question", "answer")}
    question = question_files.question(entry, kind)
    if question is None:
      raise ValueError(f"{name}, record {number} is {str(entry)[:100]}: prepare it again")
    yield question


def _records(name: str, split: str) -> Any:
  import tensorflow_datasets as tfds  # takes a second, and only these questions need it

  builder = tfds.builder(name, data_dir=_home())
  if not builder.data_path.exists():
    if name.startswith("trivia_qa") and importlib.util.find_spec("tensorflow") is None:
      raise FileNotFoundError(_unread(name, "TensorFlow, which has to prepare it, is absent"))
    try:
      builder.download_and_prepare(file_format="array_record")
    except (OSError, tfds.download.DownloadError) as e:
      reason = textwrap.shorten(str(e), 150, placeholder=" ..")
      raise FileNotFoundError(_unread(name, f"it could not be downloaded ({reason})")) from e
  try:
    return builder.as_data_source(split)
  except NotImplementedError as e:
    raise FileNotFoundError(_unread(name, "its files there are no ArrayRecord files")) from e


def _unread(name: str, reason: str) -> str:
  return (
    f"{name} cannot be read from {_home()}, since {reason}: run"
    f" `tfds build {name} --file_format=array_record` where that works and set TFDS_DATA_DIR"
    " to the folder with what it wrote, or take your own files with questions=files"
  )


def _home() -> pathlib.Path:
  named = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
  return paths.on_disk(named, "TFDS_DATA_DIR").resolve()


def _plain(value: Any) -> Any:
  """A record with texts in place of bytes, and lists in place of arrays."""
  if isinstance(value, bytes):
    return value.decode()
  if isinstance(value, dict):
    return {key: _plain(v) for key, v in value.items()}
  return [_plain(v) for v in value]
