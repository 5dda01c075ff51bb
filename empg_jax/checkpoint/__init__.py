"""Checkpoints: the training state and extra values, in Orbax's format.

A state is stored as nested dicts named after its attributes, keys and indices, so that a
checkpoint can be read without this package:

    orbax.checkpoint.StandardCheckpointer().restore("/WORKDIR/checkpoints/30/state")

Random keys are not stored: they derive from the step (`jax.random.fold_in`).
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
import contextlib
import os
from typing import Any, NamedTuple

from absl import logging
from jaxtyping import PyTree
import orbax.checkpoint as ocp

from empg_jax.checkpoint import proof
from empg_jax.checkpoint.leaves import MisfitError, array, described, leaves, nested
from empg_jax.checkpoint.literal_path import LiteralPath
from empg_jax.checkpoint.reading import read, read_part as read_part, shown, steps as steps
from empg_jax.io import paths

_FULL = "No space left on device"  # ends a long message of tensorstore


class Restored(NamedTuple):
  """The content of a checkpoint."""

  step: int
  state: PyTree  # bitwise equal to the saved one
  extra: Any


class Checkpointer:
  """The checkpoints of one run, DIRECTORY/STEP; keeps the newest `keep` and the `best`.

  Deletes an old one only after a newer one has been written and read back.
  """

  def __init__(self, directory: str | os.PathLike, *, keep: int = 2, best: int = 0):
    """Creates the directory.

    Raises:
      OSError: it cannot be created or opened.
      ValueError: its path cannot be used on this system.
    """
    self._directory = paths.from_root(directory)
    paths.make_folder(self._directory)
    self._path = LiteralPath(self._directory)
    self._saving: tuple[int, Mapping[str, list]] = 0, {}
    self._keep, self._best = keep, best
    self._damaged: set[int] = set()
    self._scores: Mapping[int, float] = {}
    self._manager = ocp.CheckpointManager(
      self._path.path,
      options=ocp.CheckpointManagerOptions(
        preservation_policy=self,
        cleanup_tmp_directories=True,
        async_options=ocp.AsyncOptions(post_finalization_callback=self._prove),
      ),
      item_handlers={
        "state": ocp.StandardCheckpointHandler(),
        "leaves": ocp.JsonCheckpointHandler(),
        "extra": ocp.JsonCheckpointHandler(),
      },
    )

  def save(
    self,
    step: int,
    state: PyTree,
    extra: Any = None,
    *,
    scores: Mapping[int, float] | None = None,
  ) -> None:
    """Saves a state of arrays and numbers, and `extra`, any JSON value.

    The best steps are those with the highest of all `scores` so far, newer ones first among
    equals. Returns as soon as the arrays are copied (they may then be donated); writing goes
    on in the background. A checkpoint appears complete or not at all.

    Raises:
      ValueError: the step is already saved, or the state holds a random key.
      OSError: this checkpoint or the one before cannot be written or read back; the earlier
        ones are untouched.
    """
    self.wait()
    self._scores = self._scores if scores is None else scores
    if step in self._damaged:
      self._manager.delete(step)
      self._damaged.remove(step)
    if self.holds(step):
      raise ValueError(f"{self._directory} already holds a checkpoint of step {step}")
    there = {path: array(leaf) for path, leaf in leaves(state).items()}
    self._saving = step, described(there)
    with self._writing():
      self._manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(nested(there)),
          leaves=ocp.args.JsonSave(self._saving[1]),
          extra=ocp.args.JsonSave({"extra": extra}),
        ),
        force=True,  # also saves a step before a damaged one
      )

  def latest_step(self) -> int | None:
    """The newest saved step, or None."""
    return self._manager.latest_step()

  def holds(self, step: int) -> bool:
    """Whether a step is saved, and not known to be damaged."""
    return step in self._manager.all_steps() and step not in self._damaged

  def restore(
    self, template: PyTree, fit: Callable[[PyTree, Collection[str]], PyTree] | None = None
  ) -> Restored | None:
    """Restores the newest intact checkpoint, or returns None if there are no checkpoints.

    Warns of a damaged one, takes the one before it, and leaves the damaged one in place until
    its step is saved again. All checkpoints of a run have the same leaves, so one that does not
    fit counts as damaged if an older one fits.

    Args:
      template: a state of the wanted structure, whose arrays (or `jax.ShapeDtypeStruct`s
        with shardings) give the shape, dtype and sharding of each leaf.
      fit: returns the template without what a checkpoint may lack, given the dotted names of
        the leaves that it holds.

    Raises:
      MisfitError: the checkpoints are of another state; the message names the leaves.
      ValueError: all checkpoints are damaged.
    """
    self.wait()
    failed: dict[int, ValueError] = {}
    for step in sorted(self._manager.all_steps(), reverse=True):
      try:
        restored = Restored(step, *read(self._manager.directory / str(step), template, fit))
      except ValueError as error:
        failed[step] = type(error)(self._path.named(str(error)))
        continue
      for sentence in self._sentences(failed):
        logging.warning("%s: trying the one before it", sentence)
      self._damaged |= failed.keys()
      return restored
    for error in failed.values():
      if isinstance(error, MisfitError):
        raise error
    if failed:
      raise ValueError(f"no checkpoint can be restored: {'; '.join(self._sentences(failed))}")
    return None

  def _sentences(self, damage: Mapping[int, ValueError]) -> list[str]:
    return [f"the checkpoint {self._directory}/{at} is damaged ({x})" for at, x in damage.items()]

  def wait(self) -> None:
    """Waits until everything saved is on disk; raises OSError if a save failed."""
    with self._writing():
      self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits as `wait` does and stops the background threads."""
    with self._writing():
      self._manager.close()
    self._path.close()

  def _prove(self) -> None:
    """Called by Orbax on the first host, after writing a checkpoint and before naming it."""
    step, saved = self._saving
    proof.check(proof.unfinished(self._manager.directory, step), saved)

  def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
    """Called by Orbax: which checkpoints, oldest first, to keep."""
    del context
    whole = [info.step for info in checkpoints if info.step not in self._damaged]
    scored = [step for step in whole if step in self._scores]
    best = sorted(scored, key=lambda step: (self._scores[step], step), reverse=True)[: self._best]
    stay = {*whole[-self._keep :], *best}
    # A damaged one stays until a newer intact one exists.
    return [info.step in stay or info.step > whole[-1] for info in checkpoints]

  @contextlib.contextmanager
  def _writing(self) -> Iterator[None]:
    try:
      yield
    except proof.UnreadableError as error:
      raise OSError(
        f"the checkpoint of step {self._saving[0]} was written to {self._directory} and cannot be"
        f" read back ({self._path.named(shown(error))}): it is discarded, and the earlier ones are"
        " untouched; fix the disk and start the same command again."
      ) from error
    except (OSError, ValueError) as error:  # tensorstore raises the latter
      reason = _FULL if _FULL in str(error) else self._path.named(shown(error))
      raise OSError(
        f"a checkpoint cannot be written to {self._directory} ({reason}): the earlier ones are"
        " untouched; fix that and start the same command again."
      ) from error
