"""Finds and loads the trained models of a run's checkpoints."""

import os
from typing import Literal

import jax
import ml_collections

from empg_jax import checkpoint
from empg_jax.distributed import sharding
from empg_jax.io import paths, words
from empg_jax.models import fingerprint, folder, lora
from empg_jax.models.decoder import Decoder
from empg_jax.tracking import metrics


def find(
  path: str | os.PathLike, step: int | Literal["best"] | None = None
) -> tuple[paths.Path, int]:
  """The workdir of a run and the step of one of its checkpoints.

  Args:
    path: WORKDIR, for its newest checkpoint, or WORKDIR/checkpoints/STEP.
    step: the checkpoint of WORKDIR to take; "best": the one with the best of the run's own
      evaluations (metrics.scores), the newest among equals.

  Raises:
    FileNotFoundError: there is no such checkpoint.
  """
  path = paths.of(path)
  if path.parent.name == "checkpoints" and path.is_dir() and path.name.isdigit():
    return path.parent.parent, int(path.name)
  steps = checkpoint.steps(path / "checkpoints")
  if not steps:
    raise FileNotFoundError(
      f"There is no checkpoint in {path}: give the workdir of a run, or WORKDIR/checkpoints/STEP."
    )
  if step == "best":
    scores = metrics.scores(metrics.read_rows(path))
    evaluated = [step for step in steps if step in scores]
    if not evaluated:
      raise FileNotFoundError(f"No checkpoint in {path} was evaluated: {words.choices(steps)}.")
    return path, max(evaluated, key=lambda step: (scores[step], step))
  if step is not None and step not in steps:
    raise FileNotFoundError(
      f"There is no checkpoint of step {step} in {path}: {words.choices(steps)}."
    )
  return path, steps[-1] if step is None else step


def step(text: str | None) -> int | Literal["best"] | None:
  """Parses --step; raises ValueError if it is neither a number nor "best"."""
  if text is None or text == "best":
    return text
  if not text.isdecimal():
    raise ValueError(f"--step is {text!r}: give the number of a checkpoint, or best.")
  return int(text)


def load(config: ml_collections.ConfigDict, checkpoint_folder: str | os.PathLike) -> Decoder:
  """The trained model of a checkpoint, WORKDIR/checkpoints/STEP, with adapters merged.

  Args:
    config: of the run; its model.path is the base of adapters.
    checkpoint_folder: of one step.

  Raises:
    ValueError: the base model has changed since the run began.
  """
  workdir = paths.from_root(checkpoint_folder).parents[1]
  fingerprint.check(workdir, config.model.path, weights=config.lora.rank > 0)
  mesh, source = sharding.make_mesh(), folder.open_source(config.model.path)
  base, trained = None, folder.describe(source, mesh, dtype=config.model.dtype)
  if config.lora.rank:
    base = folder.load(mesh=mesh, **config.model)
    create = lambda key: lora.create(base, key, **config.lora)
    shapes = jax.eval_shape(create, jax.random.key(0))
    at = lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)
    trained = jax.tree.map(at, shapes, sharding.shardings(shapes, mesh))
  part = checkpoint.read_part(checkpoint_folder, {"model": trained})
  return lora.merge(base, part["model"])
