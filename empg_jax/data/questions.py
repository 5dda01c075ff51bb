"""Deep Search's questions as a dataset: made once, kept on disk, read at random.

    splits = questions("embedded")
    splits["train"][0]

is {"id": "embedded/train/0", "question": "What is the capital of ..?", "answers": ["Warsaw", ..],
"titles": ["Marie Curie", "Poland (Government)"], "type": "birth_capital", "hops": 2, "split":
"train"}, and the environment plays it as `env.reset(id)`.

A `tensorflow-datasets` builder writes them as ArrayRecord files; neither writing nor reading
needs TensorFlow. The files are in the folder that the environment variable TFDS_DATA_DIR names,
else in the cache (EMPG_JAX_CACHE). Other questions make new ones. Other programs read them
without this package, texts as bytes:

    builder = tfds.builder_from_directory(".../deep_search_questions/embedded-DIGEST/1.0.0")
    builder.as_data_source("train")[0]["question"]
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from empg_jax.console import Progress
from empg_jax.data import prepared
from empg_jax.data._configs import QuestionsConfig
from empg_jax.envs import deep_search
from empg_jax.envs.deep_search import data


class DeepSearchQuestions(tfds.core.GeneratorBasedBuilder):
  """Questions with their answers and supporting documents, in the order of the tasks."""

  # A change of a question's fields needs a new version, so that older files are not read.
  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "First version."}

  def _info(self) -> tfds.core.DatasetInfo:
    text, texts = tfds.features.Text(), tfds.features.Sequence(tfds.features.Text())
    features = tfds.features.FeaturesDict(
      {
        "id": text,  # the task, as the environment plays it
        "question": text,
        "answers": texts,  # each is correct
        "titles": texts,  # of the supporting documents, in order; none if unknown
        "type": text,  # its template, or its collection
        "hops": np.int32,  # the number of titles; 0 if unknown
        "split": text,
      }
    )
    return tfds.core.DatasetInfo(
      builder=self, description=__doc__, features=features, disable_shuffling=True
    )

  def _split_generators(self, dl_manager):
    splits = data.splits(self.builder_config.questions)
    return {split: self._generate_examples(split) for split in splits}

  def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
    tasks = deep_search.tasks(split, questions=self.builder_config.questions)
    with Progress(f"{split} questions", len(tasks), "questions") as progress:
      for i, task in enumerate(tasks):
        asked = data.question(task)
        yield i, {
          "id": task, "question": asked.text, "answers": asked.answers, "titles": asked.titles,
          "type": asked.kind, "hops": len(asked.titles), "split": split,
        }  # fmt: skip
        progress.update(1)


class Records(Sequence[dict[str, Any]]):
  """Questions by index, as plain values, each decoded from its record on access."""

  def __init__(self, records: Sequence[dict[str, Any]]):
    self._records = records

  def __len__(self) -> int:
    return len(self._records)

  def __getitem__(self, index: int) -> dict[str, Any]:
    record = self._records[index]
    plain = {key: record[key].decode() for key in ("id", "question", "type", "split")}
    lists = {key: [text.decode() for text in record[key]] for key in ("answers", "titles")}
    return {**plain, **lists, "hops": int(record["hops"])}


def questions(source: str, *, data_dir: str | None = None) -> dict[str, Records]:
  """The questions of every split; the files are made if they are missing.

  Args:
    source: "embedded", "short", "files" or "tfds:NAME", as for envs.deep_search.tasks.
    data_dir: the folder of the files; default: TFDS_DATA_DIR, or the cache.

  Raises:
    ValueError: an unknown source, or a broken file.
    FileNotFoundError: as for envs.deep_search.tasks.
    OSError: they must be made, and the folder cannot be written.
  """
  if source not in data.QUESTIONS:
    raise ValueError(f"source must be one of {', '.join(data.QUESTIONS)}, got {source!r}")
  if not data.splits(source):
    home = data.data_folder("questions/*")
    raise FileNotFoundError(f"there are no files of questions in {home}/questions")
  name = source.removeprefix("tfds:").replace("/", "-")
  wanted = QuestionsConfig(name=f"{name}-{data.digest(source)}", questions=source)
  builder = prepared.builder(DeepSearchQuestions, wanted, data_dir)
  return {split: Records(builder.as_data_source(split=split)) for split in builder.info.splits}
