"""Reads a new checkpoint back before older ones are deleted."""

from collections.abc import Mapping
import functools
import json
import math
import operator
from typing import Any

import numpy as np
import orbax.checkpoint as ocp

from empg_jax.checkpoint.leaves import check_unchanged, leaves, nested

_IN_A_FILE = 2**10  # bytes; Orbax may inline smaller leaves in its manifest


class UnreadableError(ValueError):
  """A checkpoint cannot be read back, or differs from what was saved."""


def unfinished(directory: Any, step: int) -> Any:
  """The temporary folder of a checkpoint before Orbax gives it its name."""
  name = str(step)
  there = [path for path in directory.iterdir() if path.name.partition(".")[0] == name]
  if len(there) != 1:
    raise UnreadableError(f"there are {len(there)} folders of this step")
  return there[0]


def check(folder: Any, saved: Mapping[str, list]) -> None:
  """Reads a checkpoint's lists, the metadata of every leaf, and the values of one leaf.

  Args:
    folder: an Orbax path.
    saved: `described` of the saved leaves.

  Raises:
    UnreadableError: something is missing or differs from what was saved.
  """
  try:
    for item in ("leaves", "extra"):
      read = json.loads((folder / item / "metadata").read_text())
      if item == "leaves" and read != saved:
        raise UnreadableError("its list of leaves differs")
    _check_shapes(folder / "state", saved)
    _check_values(folder / "state", saved)
  except UnreadableError:
    raise
  except Exception as error:  # Orbax raises many types
    raise UnreadableError(str(error)) from error


def _check_shapes(state: Any, saved: Mapping[str, list]) -> None:
  found = {
    ".".join(path): [str(np.dtype(leaf.dtype)), list(leaf.shape)]
    for path, leaf in leaves(ocp.StandardCheckpointHandler().metadata(state).tree).items()
  }
  wrong = [name for name, (*about, _) in saved.items() if found.get(name) != about]
  if wrong:
    raise UnreadableError(f"missing or of another shape: {', '.join(wrong[:5])}")


def _check_values(state: Any, saved: Mapping[str, list]) -> None:
  """Reads the smallest leaf that has a file of its own, or else the largest."""
  size = lambda name: math.prod(saved[name][1]) * np.dtype(saved[name][0]).itemsize
  large = [name for name in saved if size(name) >= _IN_A_FILE]
  name = min(large, key=size) if large else max(saved, key=size)
  dtype, shape, _ = saved[name]
  path = tuple(name.split("."))
  wanted = nested({path: np.empty(shape, dtype)})
  found = ocp.PyTreeCheckpointHandler().restore(
    state,
    args=ocp.args.PyTreeRestore(
      item=wanted,
      restore_args=ocp.checkpoint_utils.construct_restore_args(wanted),
      partial_restore=True,
    ),
  )
  check_unchanged({path: functools.reduce(operator.getitem, path, found)}, saved)
