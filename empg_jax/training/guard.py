"""When a run has to stop."""

from collections.abc import Mapping

MAX_SKIPPED = 3


def check_finite(metrics: Mapping[str, float], step: int) -> None:
  """Raises FloatingPointError when updates had to be skipped again and again."""
  skipped = int(metrics["update/skipped"])
  if skipped >= MAX_SKIPPED:
    raise FloatingPointError(
        f"The loss or its gradient was not finite in {skipped} updates in a row, up to step"
        f" {step}: the policy is as it was before them; lower optimizer.learning_rate or look at"
        " the batch, and start again with the same workdir to go on from the last checkpoint."
    )
