"""Builder configs, which identify a dataset for TFDS together with its builder."""

import dataclasses
from typing import Any

import tensorflow_datasets as tfds


@dataclasses.dataclass(kw_only=True)
class DemonstrationsConfig(tfds.core.BuilderConfig):
  """Demonstrations by the arguments of an environment's `demonstrations`."""

  environment: str
  episodes: int
  seed: int
  options: dict[str, Any]


@dataclasses.dataclass(kw_only=True)
class QuestionsConfig(tfds.core.BuilderConfig):
  """Questions by their source, one of envs.deep_search.data.QUESTIONS."""

  questions: str
