"""A run stops, with one sentence, where going on would only look like training."""

import pytest

from empg_jax.training.guard import check_aborted
from empg_jax.types import Episode


def episodes(*faults):
  """One for each; None: it was played."""
  return [
      Episode(
          f"task {index}", 0, index, (), 0.0, False, "aborted" if fault else "done",
          {"error": f"its {fault}", "fault": fault} if fault else {},
      )
      for index, fault in enumerate(faults)
  ]  # fmt: skip


def test_a_step_that_lost_too_many_episodes_stops_the_run_and_names_the_most_frequent_fault():
  played = episodes("hang", None, None, "crash", None, "crash")
  check_aborted(played, 0.5, step=7)
  with pytest.raises(RuntimeError) as caught:
    check_aborted(played, 0.4, step=7)
  assert str(caught.value) == (
      "3 of the 6 episodes of step 7 were aborted, more than the share of 0.4 that"
      " rollout.max_aborted allows, 2 of them by the fault 'crash': the first such, of task"
      " task 3, ended with: its crash"
  )
  check_aborted(episodes(None, None), 0.0, step=1)
