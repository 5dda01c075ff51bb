"""Checkpoints: the training state and what goes with it, in Orbax's format.

A state is stored as nested dicts named after its attributes, keys and indices, so that a
checkpoint can be read without this package:

    orbax.checkpoint.StandardCheckpointer().restore("/WORKDIR/checkpoints/30/state")

Random keys are not stored: they derive from the step (`jax.random.fold_in`).
"""

import functools
import operator
import os
import pathlib
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from jaxtyping import Array, PyTree, UInt32

Path = tuple[str, ...]  # of a leaf in its state: ("model", "layers", "0", "weight")


class MisfitError(ValueError):
  """A checkpoint is whole, but of another state than the wanted one."""


class Restored(NamedTuple):
  """What a checkpoint gave back."""

  step: int
  state: PyTree  # equal to what was saved, bit for bit
  extra: Any


class Checkpointer:
  """The checkpoints of one run: DIRECTORY/STEP, of which the newest `keep` are kept."""

  def __init__(self, directory: str | os.PathLike, *, keep: int = 2):
    self._directory = pathlib.Path(directory).absolute()
    self._damaged: set[int] = set()
    self._manager = ocp.CheckpointManager(
        self._directory,
        options=ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True),
        item_handlers={
            "state": ocp.StandardCheckpointHandler(),
            "leaves": ocp.JsonCheckpointHandler(),
            "extra": ocp.JsonCheckpointHandler(),
        },
    )

  def save(self, step: int, state: PyTree, extra: Any = None) -> None:
    """Saves a state of arrays and numbers, and `extra`, which is anything JSON can hold.

    Returns as soon as the arrays are copied (they may be donated then); writing goes on
    in the background. A checkpoint appears whole or not at all.

    Raises:
      ValueError: the step is saved already, or the state holds a random key.
    """
    if step in self._damaged:
      self._manager.delete(step)
      self._damaged.remove(step)
    if step in self._manager.all_steps():
      raise ValueError(f"{self._directory} already holds a checkpoint of step {step}")
    leaves = {path: _array(leaf) for path, leaf in _leaves(state).items()}
    self._manager.save(
        step,
        args=ocp.args.Composite(
            state=ocp.args.StandardSave(_nested(leaves)),
            leaves=ocp.args.JsonSave(_described(leaves)),
            extra=ocp.args.JsonSave({"extra": extra}),
        ),
        force=True,  # also a step that comes before a damaged one
    )

  def latest_step(self) -> int | None:
    """The newest step that is there, or None."""
    return self._manager.latest_step()

  def restore(self, template: PyTree) -> Restored | None:
    """Restores the newest checkpoint that is whole, or returns None if there is none.

    A damaged one is named in a warning and the one before it is taken. It stays where it
    is until its step is saved anew.

    Args:
      template: a state of the wanted structure, whose arrays (or `jax.ShapeDtypeStruct`s
        with shardings) say which shape, dtype and sharding each leaf is to have.

    Raises:
      MisfitError: the checkpoint is of another state; the message names the leaves.
      ValueError: there are checkpoints, and every one is damaged.
    """
    self.wait()
    damage = []
    for step in sorted(self._manager.all_steps(), reverse=True):
      try:
        return self._read(step, template)
      except (MisfitError, jax.errors.JaxRuntimeError):
        raise  # no fault of the files
      except Exception as error:  # whatever Orbax stumbles over in a damaged file
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 200)
        damage.append(f"the checkpoint {self._directory}/{step} is damaged ({reason})")
        logging.warning("%s: looking at the one before it", damage[-1])
        self._damaged.add(step)
    if damage:
      raise ValueError(f"no checkpoint can be restored: {'; '.join(damage)}")
    return None

  def wait(self) -> None:
    """Waits until everything saved is on disk; raises what went wrong on the way there."""
    self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits as `wait` does and ends the work in the background."""
    self._manager.close()

  def _read(self, step: int, template: PyTree) -> Restored:
    """Restores one checkpoint and compares it with the description saved beside it."""
    wanted = _leaves(template)
    json = ocp.args.JsonRestore()
    items = self._manager.restore(step, args=ocp.args.Composite(leaves=json, extra=json))
    saved, extra = items["leaves"], items["extra"]["extra"]
    _check_fit(f"{self._directory}/{step}", saved, wanted)
    targets = _nested({path: _target(leaf) for path, leaf in wanted.items()})
    state = self._manager.restore(
        step, args=ocp.args.Composite(state=ocp.args.StandardRestore(targets))
    )["state"]
    found = {path: functools.reduce(operator.getitem, path, state) for path in wanted}
    _check_unchanged(found, saved)
    leaves = [_of_kind(wanted[path], leaf) for path, leaf in found.items()]
    return Restored(step, jax.tree.unflatten(jax.tree.structure(template), leaves), extra)


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
  try:
    return _read_part(folder, template)
  except (MisfitError, jax.errors.JaxRuntimeError):
    raise
  except Exception as error:  # as in Checkpointer.restore
    reason = textwrap.shorten(f"{type(error).__name__}: {error}", 200)
    raise ValueError(
        f"the checkpoint {folder} is damaged ({reason}): take the one before it"
    ) from error


def _read_part(folder: pathlib.Path, template: PyTree) -> PyTree:
  saved = ocp.Checkpointer(ocp.JsonCheckpointHandler()).restore(folder / "leaves")
  wanted = _leaves(template)
  names = {".".join(path) for path in wanted}
  part = {name: leaf for name, leaf in saved.items() if name in names}
  _check_fit(str(folder), part, wanted)
  targets = _nested({path: _target(leaf) for path, leaf in wanted.items()})
  restored = ocp.Checkpointer(ocp.PyTreeCheckpointHandler()).restore(
      folder / "state",
      args=ocp.args.PyTreeRestore(
          item=targets,
          restore_args=ocp.checkpoint_utils.construct_restore_args(targets),
          partial_restore=True,
      ),
  )
  found = {path: functools.reduce(operator.getitem, path, restored) for path in wanted}
  _check_unchanged(found, saved)
  return jax.tree.unflatten(jax.tree.structure(template), list(found.values()))


def _check_unchanged(found: Mapping[Path, Any], saved: Mapping[str, list]) -> None:
  """Raises ValueError unless leaves are what they were when they were saved."""
  changed = [name for name, leaf in _described(found).items() if leaf != saved[name]]
  if changed:
    raise ValueError(f"not what was saved: {', '.join(changed)}")


def _leaves(state: PyTree) -> dict[Path, Any]:
  """The leaves of a state by their paths."""
  leaves = {}
  for keys, leaf in jax.tree_util.tree_leaves_with_path(state):
    path = tuple(jax.tree_util.keystr((key,), simple=True) for key in keys)
    if jax.dtypes.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key):
      raise ValueError(f"{'.'.join(path)} is a random key: derive it from the step instead")
    leaves[path] = leaf
  return leaves


def _nested(leaves: Mapping[Path, Any]) -> dict[str, Any]:
  """Nested dicts with one level for each part of a path."""
  tree: dict[str, Any] = {}
  for path, leaf in leaves.items():
    inner = functools.reduce(lambda node, part: node.setdefault(part, {}), path[:-1], tree)
    inner[path[-1]] = leaf
  return tree


def _array(leaf: Any) -> Any:
  """A number as an array without dimensions; arrays and their descriptions as they are."""
  return leaf if isinstance(leaf, (jax.Array, jax.ShapeDtypeStruct)) else np.asarray(leaf)


def _target(leaf: Any) -> Any:
  """What Orbax has to be told to restore a leaf as it stands in the template."""
  if isinstance(leaf, jax.Array):
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
  return _array(leaf)


def _of_kind(leaf: Any, found: Any) -> Any:
  """What was found, as a number where the template has a number."""
  arrays = (jax.Array, jax.ShapeDtypeStruct, np.ndarray)
  return found if isinstance(leaf, arrays) else type(leaf)(found)


def _described(leaves: Mapping[Path, Any]) -> dict[str, list]:
  """[dtype, shape, checksum] of each leaf, by its dotted name."""
  on_device = {path: leaf for path, leaf in leaves.items() if isinstance(leaf, jax.Array)}
  sums = dict(zip(on_device, jax.device_get(_checksums(list(on_device.values())))))
  return {
      ".".join(path): [
          str(leaf.dtype),
          list(leaf.shape),
          int(sums[path]) if path in sums else _checksum(leaf),
      ]
      for path, leaf in leaves.items()
  }


@jax.jit
def _checksums(leaves: Sequence[Array]) -> Sequence[UInt32[Array, ""]]:
  """The sums modulo 2^32 of the bits of arrays, read as unsigned words: no host copies."""

  def checksum(leaf):
    if leaf.dtype == bool:
      words = leaf.astype(jnp.uint8)
    else:
      words = jax.lax.bitcast_convert_type(leaf, f"uint{8 * min(leaf.dtype.itemsize, 4)}")
    return jnp.sum(words, dtype=jnp.uint32)

  return [checksum(leaf) for leaf in leaves]


def _checksum(leaf: np.ndarray) -> int:
  """What `_checksums` computes, on the host."""
  words = leaf.reshape(-1).view(f"uint{8 * min(leaf.dtype.itemsize, 4)}")
  return int(np.sum(words, dtype=np.uint64) % 2**32)


def _check_fit(where: str, saved: Mapping[str, list], wanted: Mapping[Path, Any]) -> None:
  """Raises MisfitError unless the leaves of a checkpoint are those of the template."""
  there = {name: f"{dtype}{shape}" for name, (dtype, shape, _) in saved.items()}
  here = {}
  for path, leaf in wanted.items():
    array = _array(leaf)
    here[".".join(path)] = f"{array.dtype}{list(array.shape)}"
  misfits = [
      f"{name} is {there.get(name, 'not')} there and {here.get(name, 'not')} here"
      for name in sorted(there.keys() | here.keys())
      if there.get(name) != here.get(name)
  ]
  if misfits:
    more = f"; and {len(misfits) - 5} more" if len(misfits) > 5 else ""
    raise MisfitError(
        f"the checkpoint {where} is of another model or optimizer:"
        f" {'; '.join(misfits[:5])}{more}"
    )
