"""Warns of unusual updates, and stops a run that cannot go on."""

import collections
from collections.abc import Mapping, Sequence
import math
import os
import statistics
from typing import Any

from empg_jax.distributed import hosts
from empg_jax.io import paths, words
from empg_jax.training import replay
from empg_jax.types import Batch, Episode

MAX_SKIPPED = 3
_SPIKE = 5.0  # times the median gradient norm of the last steps
_WINDOW = 20  # steps; starts with half as many


def check_aborted(episodes: Sequence[Episode], most: float, step: int) -> None:
  """Raises RuntimeError if more than the share `most` of a step's episodes were aborted."""
  aborted = [episode for episode in episodes if episode.ended == "aborted"]
  if len(aborted) <= most * len(episodes):
    return
  faults = collections.Counter(episode.info["fault"] for episode in aborted)
  ((fault, count),) = faults.most_common(1)
  first = next(episode for episode in aborted if episode.info["fault"] == fault)
  were = "was" if len(aborted) == 1 else "were"
  raise RuntimeError(
    f"{len(aborted)} of {words.count(len(episodes), 'episode')} {were} aborted in step {step},"
    f" more than the share of {most:g} that rollout.max_aborted allows, {count} of them by the"
    f" fault '{fault}':"
    f" the first such, of task {first.task}, ended with: {first.info['error']}"
  )


def watch(
  step: int,
  updated: Mapping[str, Any],
  batch: Batch,
  episodes: Sequence[Episode],
  rows: Sequence[Mapping[str, Any]],
  workdir: str | os.PathLike,
) -> tuple[dict[str, int], list[str]]:
  """Checks an update's gradient.

  Saves a batch whose update was skipped as WORKDIR/skipped/step_N.npz. A norm above five times
  the median of the last twenty steps is a spike.

  Args:
    step: of training.
    updated: the update's metrics.
    batch: as numpy arrays.
    episodes: of the batch.
    rows: the metrics of the steps before.
    workdir: the run's folder.

  Returns:
    Metrics (update/spikes: their number in the run so far), and warnings, one line each.
  """
  notes = []
  if float(updated["update/finite"]) < 1:
    path = paths.of(workdir) / "skipped" / f"step_{step}.npz"
    if hosts.is_first():
      replay.save(batch, path)
    notes.append(
      f"The loss or its gradient was not finite in step {step}; the policy is unchanged, the"
      f" batch is saved, and --replay={path} runs it again."
    )
  spikes = max((row.get("update/spikes") or 0 for row in rows), default=0)
  norm = float(updated["update/grad_norm"])
  before = [row["update/grad_norm"] for row in rows if row.get("update/grad_norm") is not None]
  median = statistics.median(before[-_WINDOW:]) if len(before) >= _WINDOW // 2 else math.inf
  if math.isfinite(norm) and norm > _SPIKE * median:
    spikes += 1
    notes.append(
      f"The gradient norm in step {step} is {norm:.3g}; the median of the steps before is"
      f" {median:.3g}. The batch holds {_summary(episodes)}."
    )
  return {"update/spikes": spikes}, notes


def _summary(episodes: Sequence[Episode]) -> str:
  """The episodes by task: "episodes 0 1 3 of heat/1; episodes 0 2 of cool/1"."""
  groups: dict[tuple[int, str], list[str]] = {}
  for episode in episodes:
    if episode.ended != "aborted":
      groups.setdefault((episode.group, episode.task), []).append(str(episode.index))
  return "; ".join(f"episodes {' '.join(of)} of {task}" for (_, task), of in groups.items())


def check_finite(skipped: int, step: int) -> None:
  """Raises FloatingPointError after MAX_SKIPPED skipped updates in a row.

  Args:
    skipped: updates skipped in a row so far (TrainState.skipped).
    step: of training.
  """
  if skipped >= MAX_SKIPPED:
    raise FloatingPointError(
      f"The loss or its gradient was not finite in {skipped} updates in a row, up to step"
      f" {step}; the policy is as it was before them. Look at the batches in WORKDIR/skipped"
      " (--replay=FILE); to go on from the last checkpoint, start the same command again with"
      " --amend and a lower --config.optimizer.learning_rate. If the numbers of that checkpoint's"
      " policy are not finite either, begin a new run with an earlier one: --workdir=NEW"
      " --init_from=WORKDIR@STEP."
    )
