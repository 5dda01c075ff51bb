"""Resumes the run of a workdir, whose config may change in part (config/key_kinds.py).

WORKDIR/config.json is the current config, WORKDIR/amendments.jsonl its changes: one line per
key, {"step": 30, "key": "optimizer.learning_rate", "old": 0.0003, "new": 0.0001}, in force for
the steps after that one.
"""

from collections.abc import Sequence
import json
import os
from typing import Any, NamedTuple

import ml_collections

from empg_jax.config import config as configs, key_kinds
from empg_jax.distributed import hosts
from empg_jax.io import json_text, paths

FILE = "amendments.jsonl"


class Change(NamedTuple):
  """A key whose value differs from the run's; None where one config lacks the key."""

  key: str
  old: Any
  new: Any

  def __str__(self) -> str:
    kind = key_kinds.kind(self.key)
    why = f": {key_kinds.reason(self.key)}" if kind == "identity" else ""
    return f"config.{self.key} is {_shown(self.old)} there and {_shown(self.new)} now ({kind}{why})"


class Amendment(NamedTuple):
  """A change, and the last step before it."""

  step: int
  change: Change

  def __str__(self) -> str:
    key, old, new = self.change
    return f"after step {self.step}: {key} {_shown(old)} → {_shown(new)}"


def claim(
  workdir: str | os.PathLike,
  config: ml_collections.ConfigDict,
  *,
  amend: bool = False,
  model_moves: bool = False,
) -> list[Change]:
  """Sets up `workdir` for a run of `config`, or checks that its run may go on with `config`.

  The first process writes WORKDIR/config.json unless a run has begun there. Creates the folder if
  needed, for its user only, because it will hold everything that the policy reads and writes.

  Args:
    workdir: of the run.
    config: of this start.
    amend: whether keys of the kind steering may differ from the run's.
    model_moves: whether model.path may differ, as the caller checks the model by content.

  Returns:
    The differences from the run's config; `record` writes them once the run goes on.

  Raises:
    ValueError: the folder cannot be used, or holds a run that cannot go on with this config.
  """
  folder = paths.of(workdir)
  try:
    paths.make_folder(folder, 0o700)
    if not has_begun(folder) or not (folder / configs.FILE).exists():
      _check_own(folder, config)
      if hosts.is_first():  # a bucket refuses many writes of one object at once
        paths.write(folder / configs.FILE, _text(config))
  except OSError as error:
    raise ValueError(f"the workdir {workdir} cannot be used: {error.strerror}") from error
  return check(folder, config, amend=amend, model_moves=model_moves)


def check(
  workdir: paths.Path,
  config: ml_collections.ConfigDict,
  *,
  amend: bool = False,
  model_moves: bool = False,
) -> list[Change]:
  """As `claim`, without writing anything."""
  if not (workdir / configs.FILE).exists() or not has_begun(workdir):
    return []
  changes = differences(configs.read(workdir), config)
  _check(workdir, [x for x in changes if not (model_moves and x.key == "model.path")], amend)
  return changes


def has_begun(workdir: paths.Path) -> bool:
  """Whether the workdir's run has computed anything, and did not only fail to start."""
  saved = paths.entries(workdir / "checkpoints")
  return paths.size(workdir / "metrics.jsonl") > 0 or any(x.name[0].isdigit() for x in saved)


def _check_own(workdir: paths.Path, config: ml_collections.ConfigDict) -> None:
  """Raises ValueError if the folder has a config.json that is not a run's, but say a model's."""
  file = workdir / configs.FILE
  if file.exists() and set(configs.read(workdir)).isdisjoint(config):
    raise ValueError(f"{file} is not the config of a run: choose another --workdir.")


def differences(old: configs.Section, new: configs.Section) -> list[Change]:
  """The keys whose values differ, sorted by name."""
  old, new = dict(configs.leaves(old)), dict(configs.leaves(new))
  keys = sorted(old.keys() | new.keys())
  changes = [Change(key, old.get(key), new.get(key)) for key in keys]
  return [change for change in changes if repr(change.old) != repr(change.new)]


def _check(workdir: paths.Path, changes: Sequence[Change], amend: bool) -> None:
  """Raises ValueError for the changes that the run cannot go on with."""
  refused = [change for change in changes if key_kinds.kind(change.key) != "operational"]
  listed = ", ".join(map(str, refused))
  if any(key_kinds.kind(change.key) == "identity" for change in refused):
    of_model = any(change.key.startswith("model.") for change in refused)
    more = "" if of_model else f"; --init_from={workdir} begins a new run from its weights"
    raise ValueError(
      f"{workdir} holds a run that cannot go on with this config: {listed}. Give another"
      f" --workdir, or the values there{more}."
    )
  if refused and not amend:
    raise ValueError(
      f"{workdir} holds a run with other values: {listed}. Add --amend to go on with the new"
      " ones, which the run records with the step; or give another --workdir."
    )


def check_done(workdir: paths.Path, config: ml_collections.ConfigDict, done: int) -> None:
  """Raises ValueError if a run has done more than config.num_steps steps."""
  if done > config.num_steps:
    raise ValueError(
      f"config.num_steps is {config.num_steps}, but the run in {workdir} is at step {done}: give"
      f" at least {done}, or another --workdir."
    )


def record(
  workdir: str | os.PathLike,
  config: ml_collections.ConfigDict,
  changes: Sequence[Change],
  step: int,
) -> None:
  """Records that a run goes on after `step` with `config` and these changes.

  Amendments recorded for later steps, which the run repeats, are in force from `step` on.
  """
  file = paths.of(workdir) / FILE
  known: dict[tuple[int, str], Change] = {}
  before = amendments(workdir)
  for at, change in [*before, *(Amendment(step, change) for change in changes)]:
    place = min(at, step), change.key
    first = known.pop(place, change)
    if first.old != change.new:
      known[place] = Change(change.key, first.old, change.new)
  after = [Amendment(at, change) for (at, _), change in known.items()]
  if after != before:
    paths.write(file, "".join(_line(amendment) for amendment in after))
  if changes:
    paths.write(file.with_name(configs.FILE), _text(config))


def amendments(workdir: str | os.PathLike) -> list[Amendment]:
  """The changes of a run's config, in order.

  Raises:
    ValueError: a line of the file is not one that `record` writes.
  """
  file = paths.of(workdir) / FILE
  found = []
  for number, line in enumerate(file.read_text().splitlines() if file.exists() else (), 1):
    try:
      row = configs.with_tuples(json.loads(line))
      found.append(Amendment(int(row["step"]), Change(row["key"], row["old"], row["new"])))
    except (ValueError, KeyError, TypeError, RecursionError):
      raise ValueError(
        f"Line {number} of {file} is not an amendment: repair the line or remove it."
      ) from None
  return found


def seen(workdir: str | os.PathLike) -> list[Amendment]:
  """The amendments after the first step that can be visible in a curve (`key_kinds.is_seen`)."""
  return [x for x in amendments(workdir) if x.step and key_kinds.is_seen(x.change.key)]


def config_at(workdir: str | os.PathLike, step: int) -> ml_collections.ConfigDict:
  """The config of a run at training step `step`."""
  config = configs.read(workdir)
  with config.unlocked():
    for amendment in reversed(amendments(workdir)):
      if amendment.step >= step and amendment.change.old is not None:
        config.update_from_flattened_dict({amendment.change.key: amendment.change.old})
  return config


def _line(amendment: Amendment) -> str:
  record = {"step": amendment.step, **amendment.change._asdict()}
  return json_text.dumps(record, lossless=True) + "\n"


def _text(config: ml_collections.ConfigDict) -> str:
  return json_text.dumps(config.to_dict(), lossless=True, indent=2) + "\n"


def _shown(value: Any) -> str:
  return "nothing" if value is None else repr(value)
