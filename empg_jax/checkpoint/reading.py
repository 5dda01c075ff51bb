"""Reading one checkpoint, DIRECTORY/STEP, whole or in part."""

from collections.abc import Callable
import functools
import json
import operator
import os
import pathlib
import textwrap
from typing import Any

import jax
from jaxtyping import PyTree
import numpy as np
import orbax.checkpoint as ocp

from empg_jax.checkpoint.leaves import (
  MisfitError,
  check_fit,
  check_unchanged,
  leaves,
  nested,
  of_kind,
  target,
)  # fmt: skip
from empg_jax.checkpoint.plain import PlainPath
from empg_jax.distributed import hosts


def read(folder: Any, template: PyTree) -> tuple[PyTree, Any]:
  """The state and what was saved beside it; see Checkpointer.restore.

  `folder` is a path as Orbax has them, CheckpointManager.directory / STEP. All hosts of a run
  come to the same, also where the files of only one are damaged.

  Raises:
    MisfitError: it is of another state.
    ValueError: it is damaged, here or for another host.
  """
  wanted = leaves(template)

  def read_files():
    saved, extra = (
      json.loads((folder / item / "metadata").read_text()) for item in ("leaves", "extra")
    )
    check_fit(str(folder), saved, wanted)
    targets = nested({path: target(leaf) for path, leaf in wanted.items()})
    # Not by the manager: it would have a host whose files are whole wait for one that failed.
    state = ocp.StandardCheckpointHandler().restore(
      folder / "state", args=ocp.args.StandardRestore(targets)
    )
    return saved, extra["extra"], state

  saved, extra, state = _agreed(read_files)
  found = {path: functools.reduce(operator.getitem, path, state) for path in wanted}
  check_unchanged(found, saved)
  restored = [of_kind(wanted[path], leaf) for path, leaf in found.items()]
  return jax.tree.unflatten(jax.tree.structure(template), restored), extra


def _agreed(read_files: Callable[[], Any]) -> Any:
  """What it returns; ValueError if the files are damaged, on all hosts if on one."""
  found, reason = None, ""
  try:
    found = read_files()
  except (MisfitError, jax.errors.JaxRuntimeError):
    raise  # no fault of the files
  except Exception as error:  # whatever Orbax stumbles over in a damaged file
    reason = shown(error)
  if hosts.gather(np.asarray([bool(reason)], np.int32)).any():
    raise ValueError(reason or "another host cannot read it")
  return found


def shown(error: Exception) -> str:
  """An error in a line of at most 200 characters."""
  return textwrap.shorten(f"{type(error).__name__}: {error}", 200)


def read_part(checkpoint: str | os.PathLike, template: PyTree) -> PyTree:
  """A part of the state in DIRECTORY/STEP, bit for bit, without reading the rest.

  Args:
    checkpoint: the folder of one step.
    template: that part as `Checkpointer.restore` takes the whole, from the root on:
      {"model": model} for what is trained, without the optimizer's moments.

  Raises:
    MisfitError: the checkpoint holds no such part; the message names the leaves.
    ValueError: it is damaged.
  """
  folder = pathlib.Path(checkpoint).absolute()
  with PlainPath(folder.parent) as plain:
    try:
      return _read_part(plain.path / folder.name, template)
    except MisfitError as error:
      raise MisfitError(plain.named(str(error))) from error
    except jax.errors.JaxRuntimeError:
      raise
    except Exception as error:  # as in `read`
      raise ValueError(
        f"the checkpoint {folder} is damaged ({plain.named(shown(error))}): take the one before it"
      ) from error


def _read_part(folder: pathlib.Path, template: PyTree) -> PyTree:
  saved = ocp.Checkpointer(ocp.JsonCheckpointHandler()).restore(folder / "leaves")
  wanted = leaves(template)
  names = {".".join(path) for path in wanted}
  part = {name: leaf for name, leaf in saved.items() if name in names}
  check_fit(str(folder), part, wanted)
  targets = nested({path: target(leaf) for path, leaf in wanted.items()})
  restored = ocp.Checkpointer(ocp.PyTreeCheckpointHandler()).restore(
    folder / "state",
    args=ocp.args.PyTreeRestore(
      item=targets,
      restore_args=ocp.checkpoint_utils.construct_restore_args(targets),
      partial_restore=True,
    ),
  )
  found = {path: functools.reduce(operator.getitem, path, restored) for path in wanted}
  check_unchanged(found, saved)
  return jax.tree.unflatten(jax.tree.structure(template), list(found.values()))
