"""Reads one checkpoint, DIRECTORY/STEP, whole or in part."""

from collections.abc import Callable, Collection
import functools
import json
import operator
import os
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
  like_template,
  nested,
  target,
)  # fmt: skip
from empg_jax.checkpoint.literal_path import LiteralPath
from empg_jax.distributed import hosts
from empg_jax.io import paths

_FINISHED = "commit_success.txt"  # Orbax's, in a bucket


def steps(directory: str | os.PathLike) -> list[int]:
  """The steps whose checkpoints are in DIRECTORY and finished, in order."""
  found = [path for path in paths.entries(directory) if path.name.isdigit()]
  if paths.in_bucket(directory):  # a disk's gets its name when it is finished
    found = [path for path in found if (path / _FINISHED).exists()]
  return sorted(int(path.name) for path in found)


def read(
  folder: Any, template: PyTree, fit: Callable[[PyTree, Collection[str]], PyTree] | None = None
) -> tuple[PyTree, Any]:
  """Returns the state and the extra value; see Checkpointer.restore.

  `folder` is an Orbax path, CheckpointManager.directory / STEP. All hosts of a run return or
  raise alike, even if the files are damaged on only one.

  Raises:
    MisfitError: the checkpoint is of another state.
    ValueError: it is damaged, here or on another host.
  """

  def read_files():
    saved, extra = (
      json.loads((folder / item / "metadata").read_text()) for item in ("leaves", "extra")
    )
    fitting = template if fit is None else fit(template, saved)
    wanted = leaves(fitting)
    check_fit(str(folder), saved, wanted)
    targets = nested({path: target(leaf) for path, leaf in wanted.items()})
    # Not through the manager, in which intact hosts would wait for one that failed.
    state = ocp.StandardCheckpointHandler().restore(
      folder / "state", args=ocp.args.StandardRestore(targets)
    )
    return saved, extra["extra"], state, fitting

  saved, extra, state, fitting = _agreed(read_files)
  wanted = leaves(fitting)
  found = {path: functools.reduce(operator.getitem, path, state) for path in wanted}
  check_unchanged(found, saved)
  restored = [like_template(wanted[path], leaf) for path, leaf in found.items()]
  return jax.tree.unflatten(jax.tree.structure(fitting), restored), extra


def _agreed(read_files: Callable[[], Any]) -> Any:
  """Returns `read_files()`; raises ValueError on all hosts if the files of one are damaged."""
  found, reason = None, ""
  try:
    found = read_files()
  except (MisfitError, jax.errors.JaxRuntimeError):
    raise  # not due to damaged files
  except Exception as error:  # Orbax raises many types for a damaged file
    reason = shown(error)
  if hosts.gather(np.asarray([bool(reason)], np.int32)).any():
    raise ValueError(reason or "another host cannot read it")
  return found


def shown(error: Exception) -> str:
  """An error as one line of at most 200 characters."""
  return textwrap.shorten(f"{type(error).__name__}: {error}", 200)


def read_part(checkpoint: str | os.PathLike, template: PyTree) -> PyTree:
  """Reads a part of the state in DIRECTORY/STEP, bit for bit, without reading the rest.

  Args:
    checkpoint: the folder of one step.
    template: that part, from the root on, as for `Checkpointer.restore`: {"model": model} for
      the trained model without the optimizer's moments.

  Raises:
    MisfitError: the checkpoint has no such part; the message names the leaves.
    ValueError: it is damaged.
  """
  folder = paths.from_root(checkpoint)
  with LiteralPath(folder.parent) as literal:
    try:
      return _read_part(literal.path / folder.name, template)
    except MisfitError as error:
      raise MisfitError(literal.named(str(error))) from error
    except jax.errors.JaxRuntimeError:
      raise
    except Exception as error:  # as in `read`
      raise ValueError(
        f"the checkpoint {folder} is damaged ({literal.named(shown(error))}): take the one"
        " before it"
      ) from error


def _read_part(folder: paths.Path, template: PyTree) -> PyTree:
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
