"""The expert's ALFWorld demonstrations as a dataset: made once, kept on disk, read at random.

  source = demonstrations(episodes=20_000, size="small", seed=0)
  source[17].turns[0].action        # the first action of one of them

A `tensorflow-datasets` builder that writes ArrayRecord files; neither writing nor reading
needs TensorFlow. They are kept where the environment variable TFDS_DATA_DIR says, else in
~/tensorflow_datasets, and made again only for another number, size, seed or noise.
"""

import dataclasses
import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from empg_jax.console import Progress
from empg_jax.envs import alfworld_demos
from empg_jax.envs.alfworld_demos import DemoTurn, Demonstration

_TEXTS = ("observation", "thought", "action")


@dataclasses.dataclass(kw_only=True)
class DemonstrationsConfig(tfds.core.BuilderConfig):
  """Which demonstrations: the arguments of `envs.alfworld_demos.demonstrations`."""

  episodes: int
  size: str
  seed: int
  noise: float


class AlfworldDemonstrations(tfds.core.GeneratorBasedBuilder):
  """Episodes of the expert: per turn what was read, thought and played."""

  # Raised when games, expert or noise change, so that no older files are read for them.
  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "First version."}

  def _info(self) -> tfds.core.DatasetInfo:
    features = tfds.features.FeaturesDict({
        "task": tfds.features.Text(),
        "won": np.bool_,
        **{key: tfds.features.Sequence(tfds.features.Text()) for key in _TEXTS},
        "trained": tfds.features.Sequence(np.bool_),
    })
    return tfds.core.DatasetInfo(builder=self, description=__doc__, features=features)

  def _split_generators(self, dl_manager):
    return {"train": self._generate_examples()}

  def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
    config = self.builder_config
    played = alfworld_demos.demonstrations(config.seed, config.size, noise=config.noise)
    played = itertools.islice(played, config.episodes)
    with Progress(f"{config.size} demonstrations", config.episodes, "episodes") as progress:
      for i, demo in enumerate(played):
        columns = {key: [getattr(turn, key) for turn in demo.turns] for key in DemoTurn._fields}
        yield i, {"task": demo.task, "won": demo.won, **columns}
        progress.update(1)


class Episodes(Sequence[Demonstration]):
  """Demonstrations by index, each decoded from its record when asked for."""

  def __init__(self, records: Sequence[dict[str, Any]]):
    self._records = records

  def __len__(self) -> int:
    return len(self._records)

  def __getitem__(self, index: int) -> Demonstration:
    record = self._records[index]
    columns = ([text.decode() for text in record[key]] for key in _TEXTS)
    turns = zip(*columns, map(bool, record["trained"]), strict=True)
    turns = tuple(DemoTurn(*turn) for turn in turns)
    return Demonstration(record["task"].decode(), turns, bool(record["won"]))


def demonstrations(
    *, episodes: int, size: str, seed: int, noise: float = 0.1, data_dir: str | None = None
) -> Episodes:
  """The first `episodes` demonstrations of a stream in shuffled order, made if need be.

  Args:
    episodes: how many.
    size: of the games, "small" or "full".
    seed: of games, expert and noise.
    noise: probability with which a turn is not the expert's.
    data_dir: where they are kept; default: TFDS_DATA_DIR, or ~/tensorflow_datasets.

  Raises:
    ValueError: episodes is not positive, or noise is out of range.
  """
  if episodes < 1:
    raise ValueError(f"episodes must be at least 1, got {episodes!r}.")
  name = f"{size}-{episodes}-seed{seed}-noise{noise:g}"
  config = DemonstrationsConfig(name=name, episodes=episodes, size=size, seed=seed, noise=noise)
  builder = AlfworldDemonstrations(
      config=config, file_format="array_record",
      data_dir=data_dir or os.environ.get("TFDS_DATA_DIR"),
  )
  tfds.disable_progress_bar()  # ours knows how many there will be; theirs does not
  builder.download_and_prepare()
  return Episodes(builder.as_data_source(split="train"))
