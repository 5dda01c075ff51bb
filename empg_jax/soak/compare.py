"""Whether two runs have the same result, bit for bit."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from empg_jax.checkpoint import trained
from empg_jax.io import paths
from empg_jax.tracking import episode_files, metrics

# These differ between equal runs: seconds, and what a process had to compile.
_VARYING = ("time/", "compile/", "rollout/")


def states(left: paths.Path, right: paths.Path) -> list[str]:
  """The leaves (parameters, moments) in which two workdirs' newest checkpoints differ."""
  mine, theirs = map(_state, (left, right))
  names = sorted(mine.keys() | theirs.keys())
  return [name for name in names if not _same(mine.get(name), theirs.get(name))]


def rows(left: paths.Path, right: paths.Path) -> list[int]:
  """The steps whose metrics differ, times aside, or that do not have exactly one row in each."""
  mine, theirs = (
    [_timeless(row) for row in metrics.read_rows(workdir)] for workdir in (left, right)
  )
  steps = sorted({row["step"] for row in mine + theirs})
  of = lambda step, rows: [row for row in rows if row["step"] == step]
  return [step for step in steps if len(of(step, mine)) != 1 or of(step, mine) != of(step, theirs)]


def played(left: paths.Path, right: paths.Path) -> list[str]:
  """The files of episodes that differ between two workdirs, or that only one of them has."""
  mine, theirs = (
    {path.name: episode_files.read(path) for path in episode_files.files(workdir)}
    for workdir in (left, right)
  )
  return [name for name in sorted(mine | theirs) if mine.get(name) != theirs.get(name)]


def lost(workdir: paths.Path) -> dict[int, dict[str, int]]:
  """How many episodes were aborted, by step and by the fault's name in the metrics."""
  found = {}
  for row in metrics.read_rows(workdir):
    faults = {name: x for name, x in row.items() if "/aborted_" in name and x}
    if faults:
      found[row["step"]] = faults
  return found


def _state(workdir: paths.Path) -> dict[str, np.ndarray]:
  _, step = trained.find(workdir)
  with ocp.StandardCheckpointer() as reader:
    state = reader.restore(paths.from_root(workdir) / "checkpoints" / str(step) / "state")
  leaves = jax.tree_util.tree_leaves_with_path(state)
  return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def _same(left: np.ndarray | None, right: np.ndarray | None) -> bool:
  if left is None or right is None:
    return False
  return (left.dtype, left.shape, left.tobytes()) == (right.dtype, right.shape, right.tobytes())


def _timeless(row: Mapping[str, Any]) -> dict[str, Any]:
  return {name: x for name, x in row.items() if not name.startswith(_VARYING)}
