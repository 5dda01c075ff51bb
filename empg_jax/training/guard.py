"""When a run has to stop."""

import collections
from collections.abc import Sequence

from empg_jax.types import Episode

MAX_SKIPPED = 3


def check_aborted(episodes: Sequence[Episode], most: float, step: int) -> None:
  """Raises RuntimeError when more than the share `most` of a step's episodes were aborted."""
  aborted = [episode for episode in episodes if episode.ended == "aborted"]
  if len(aborted) <= most * len(episodes):
    return
  faults = collections.Counter(episode.info["fault"] for episode in aborted)
  ((fault, count),) = faults.most_common(1)
  first = next(episode for episode in aborted if episode.info["fault"] == fault)
  raise RuntimeError(
      f"{len(aborted)} of the {len(episodes)} episodes of step {step} were aborted, more than the"
      f" share of {most:g} that rollout.max_aborted allows, {count} of them by the fault '{fault}':"
      f" the first such, of task {first.task}, ended with: {first.info['error']}"
  )


def check_finite(skipped: int, step: int) -> None:
  """Raises FloatingPointError when updates had to be skipped again and again.

  Args:
    skipped: updates in a row up to now (TrainState.skipped).
    step: of training.
  """
  if skipped >= MAX_SKIPPED:
    raise FloatingPointError(
        f"The loss or its gradient was not finite in {skipped} updates in a row, up to step"
        f" {step}: the policy is as it was before them; lower optimizer.learning_rate or look at"
        " the batch, and start again with the same workdir to go on from the last checkpoint."
    )
