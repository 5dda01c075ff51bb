"""An expert's demonstrations as a dataset: made once, kept on disk, read at random.

    source = demonstrations("alfworld", episodes=20_000, seed=0, size="small", noise=0.1)
    source[17].turns[0].action        # the first action of one of them

A `tensorflow-datasets` builder writes them as ArrayRecord files; neither writing nor reading
needs TensorFlow. The files are in the folder that the environment variable TFDS_DATA_DIR names,
else in the cache (EMPG_JAX_CACHE). Another environment, number, seed or option makes new ones.
"""

from collections.abc import Iterator, Sequence
import itertools
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from empg_jax import envs
from empg_jax.config import config
from empg_jax.console import Progress
from empg_jax.data import prepared
from empg_jax.data._configs import DemonstrationsConfig
from empg_jax.envs import Demonstration, DemoTurn

_TEXTS = ("observation", "thought", "action")


class Demonstrations(tfds.core.GeneratorBasedBuilder):
  """Episodes of the expert: observation, thought and action of each turn."""

  # A change of games, expert or noise needs a new version, so that older files are not read.
  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "First version."}

  def _info(self) -> tfds.core.DatasetInfo:
    features = tfds.features.FeaturesDict(
      {
        "task": tfds.features.Text(),
        "won": np.bool_,
        **{key: tfds.features.Sequence(tfds.features.Text()) for key in _TEXTS},
        "trained": tfds.features.Sequence(np.bool_),
      }
    )
    return tfds.core.DatasetInfo(builder=self, description=__doc__, features=features)

  def _split_generators(self, dl_manager):
    return {"train": self._generate_examples()}

  def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
    wanted = self.builder_config
    played = _play(wanted.environment)(wanted.seed, **wanted.options)
    played = itertools.islice(played, wanted.episodes)
    with Progress(f"{wanted.environment} demonstrations", wanted.episodes, "episodes") as progress:
      for i, demo in enumerate(played):
        columns = {key: [getattr(turn, key) for turn in demo.turns] for key in DemoTurn._fields}
        yield i, {"task": demo.task, "won": demo.won, **columns}
        progress.update(1)


class Episodes(Sequence[Demonstration]):
  """Demonstrations by index, each decoded from its record on access."""

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
  environment: str, *, episodes: int, seed: int, data_dir: str | None = None, **options: Any
) -> Episodes:
  """The first `episodes` demonstrations of a stream, in shuffled order; made if there are none.

  Args:
    environment: its name, a module of empg_jax.envs.
    episodes: how many.
    seed: of games, expert and noise.
    data_dir: the folder of the files; default: TFDS_DATA_DIR, or the cache.
    **options: of the environment's `demonstrations(seed, **options)`.

  Raises:
    ValueError: episodes is not positive, or the environment has no such option.
    OSError: they must be made, and the folder cannot be written.
  """
  if episodes < 1:
    raise ValueError(f"episodes must be at least 1, got {episodes!r}.")
  config.check_arguments(_play(environment), options, f"{environment} demonstrations", ["seed"])
  name = "-".join([
    environment, str(episodes), f"seed{seed}",
    *(f"{key}_{value}" for key, value in sorted(options.items())),
  ])  # fmt: skip
  wanted = DemonstrationsConfig(
    name=name, environment=environment, episodes=episodes, seed=seed, options=options
  )
  builder = prepared.builder(Demonstrations, wanted, data_dir)
  return Episodes(builder.as_data_source(split="train"))


def _play(environment: str):
  return envs.need(envs.find(environment), "demonstrations", "Cloning an expert")
