"""When a run has to stop."""

MAX_SKIPPED = 3


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
