"""Starts a run from the weights of another run, `--init_from=RUN[@STEP]`.

The weights, with RUN's adapters merged, are written as a model folder, WORKDIR/initial, which
becomes the run's config.model.path: the KL penalty's reference, adapters, export and figures
find it there, and RUN may be deleted. The optimizer, a value head and the step count start anew.
"""

import json
import os
from typing import NamedTuple

import jax
import ml_collections

from empg_jax.chat import tokenizer_files
from empg_jax.checkpoint import trained
from empg_jax.config import config as configs
from empg_jax.io import json_text, paths
from empg_jax.models import families, folder
from empg_jax.workdir import resume

_FILE = "origin.json"  # of WORKDIR/initial: its origin


class Origin(NamedTuple):
  """A checkpoint of another run."""

  named: str  # the value of --init_from
  workdir: paths.Path
  step: int
  model: str  # config.model.path of that run


def find(
  workdir: paths.Path, named: str | None, config: ml_collections.ConfigDict
) -> Origin | None:
  """Finds the checkpoint that a new run in `workdir` takes its weights from; writes nothing.

  Sets config.model.path to that of RUN, whose tokenizer the run uses. For a run that has begun,
  sets it to WORKDIR/initial, if that exists, and returns None.

  Args:
    workdir: of the run.
    named: RUN, for its newest checkpoint, RUN@STEP or RUN@best; None: the config's model.
    config: of the run; its model.path, if not empty, must have RUN's shape.

  Raises:
    FileNotFoundError: there is no such checkpoint or model.
    ValueError: the run began with other weights, or RUN's model does not fit.
  """
  home = workdir / configs.INITIAL
  if resume.has_begun(workdir):
    _check_same(home, named)
    if home.is_dir():
      config.model.path = str(paths.from_root(home))
    return None
  if not named:
    return None
  if jax.process_count() > 1:
    raise ValueError(
      "--init_from works on one host only: write the weights with launch/export.py"
      " --checkpoint=RUN --out=FOLDER, and give --config.model.path=FOLDER."
    )
  run, _, step = named.rpartition("@") if _has_step(named) else (named, "", None)
  there, step = trained.find(run, trained.step(step))
  model = configs.read(there).model.path
  _check_shape(named, model, config.model.path)
  config.model.path = model
  return Origin(named, there, step, model)


def make(workdir: paths.Path, origin: Origin | None, config: ml_collections.ConfigDict) -> None:
  """Writes WORKDIR/initial from the origin of `find`, and sets config.model.path to it.

  Without an origin, deletes what a failed start has left there.
  """
  home = workdir / configs.INITIAL
  if resume.has_begun(workdir):
    return
  paths.remove(home)
  if origin is None:
    return
  there = configs.read(origin.workdir)
  model = trained.load(there, origin.workdir / "checkpoints" / str(origin.step))
  # Without a folder's name to change in a bucket: nothing has begun there until all is written.
  whole = paths.in_bucket(home)
  partial = home if whole else home.with_name(f"{configs.INITIAL}.{os.getpid()}")
  kept = folder.open_source(origin.model).config
  folder.save(model, partial, dtype=there.model.dtype, config=kept)
  tokenizer_files.copy(folder.locate(origin.model), partial)
  record = {"init_from": origin.named, "step": origin.step}
  paths.write(partial / _FILE, json_text.dumps(record) + "\n")
  if not whole:
    partial.replace(home)
  config.model.path = str(paths.from_root(home))


def named(workdir: str | os.PathLike) -> str | None:
  """The origin of a run's initial weights, RUN@STEP; None: the model of its config."""
  file = paths.of(workdir) / configs.INITIAL / _FILE
  if not file.exists():
    return None
  origin = json.loads(file.read_text())
  run = origin["init_from"]
  return run if _has_step(run) else f"{run}@{origin['step']}"


def _check_same(home: paths.Path, given: str | None) -> None:
  """Raises ValueError if a resumed run began with other weights than the given ones."""
  there = named(home.parent)
  if given and given != there and (there is None or given != there.rpartition("@")[0]):
    began = f"began with --init_from={there}" if there else "began without --init_from"
    raise ValueError(
      f"The run in {home.parent} {began}, not with --init_from={given}: leave the flag out to go"
      " on with that run, or give another --workdir."
    )


def _check_shape(named: str, theirs: str, ours: str) -> None:
  """Raises ValueError if the models of two paths have different shapes."""
  if not ours:
    return
  there, here = (families.config(folder.open_source(path).config) for path in (theirs, ours))
  differ = [
    f"{name} is {getattr(there, name)} there and {getattr(here, name)} here"
    for name in there.__dataclass_fields__
    if getattr(there, name) != getattr(here, name)
  ]
  if differ:
    raise ValueError(
      f"--init_from={named} has a model of another shape than {ours}: {', '.join(differ)}. Give"
      f" that run's own --config.model.path={theirs}."
    )


def _has_step(named: str) -> bool:
  step = named.rpartition("@")[2]
  return "@" in named and (step.isdecimal() or step == "best") and not paths.of(named).is_dir()
