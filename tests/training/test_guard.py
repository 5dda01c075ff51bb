"""A run that cannot go on stops with a one-line error."""

import jax
import numpy as np
import pytest

from empg_jax.training import replay
from empg_jax.training.guard import check_aborted, watch
from empg_jax.types import Batch, Episode

BATCH = Batch(
  *(np.zeros((2, 3), np.int32) for _ in range(3)),
  *(np.full((2, 3), np.nan, np.float32) for _ in range(3)),
  np.zeros((2, 3), np.int32),
  np.ones(2, np.float32),
  *(np.zeros(2, np.int32) for _ in range(2)),
)


def episodes(*faults):
  """One per fault; None: played without one."""
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
    "3 of 6 episodes were aborted in step 7, more than the share of 0.4 that"
    " rollout.max_aborted allows, 2 of them by the fault 'crash': the first such, of task"
    " task 3, ended with: its crash"
  )
  check_aborted(episodes(None, None), 0.0, step=1)


def watched(norm, rows, folder, finite=1.0, played=()):
  updated = {"update/grad_norm": np.float32(norm), "update/finite": np.float32(finite)}
  return watch(30, updated, BATCH, played or episodes(None), rows, folder)


def test_the_batch_of_a_skipped_update_is_kept(tmp_path):
  assert watched(1.0, [], tmp_path) == ({"update/spikes": 0}, [])
  assert not list(tmp_path.iterdir())
  # One of two minibatches was finite.
  metrics, (note,) = watched(np.nan, [], tmp_path, finite=0.5)
  path = tmp_path / "skipped" / "step_30.npz"
  assert f"--replay={path} runs it again" in note and metrics == {"update/spikes": 0}
  for kept, was in zip(jax.tree.leaves(replay.load(path)), jax.tree.leaves(BATCH), strict=True):
    np.testing.assert_array_equal(kept, was)


def test_a_spike_of_the_gradient_norm_is_reported_and_counted(tmp_path):
  rows = [{"step": 0}, *({"update/grad_norm": 100.0} for _ in range(10))]
  rows += [{"update/grad_norm": norm, "update/spikes": 2} for norm in [1.0, 2.0, None, 3.0] * 5]
  rows += [{"update/grad_norm": 2.0, "update/spikes": 2}] * 5
  assert watched(9.9, rows, tmp_path) == ({"update/spikes": 2}, [])
  played = episodes(None, "hang", None)
  metrics, (note,) = watched(10.2, rows, tmp_path, played=played)
  assert metrics == {"update/spikes": 3}
  assert note == (
    "The gradient norm in step 30 is 10.2; the median of the steps before is 2. The batch holds"
    " episodes 0 of task 0; episodes 2 of task 2."
  )


def test_no_spike_is_reported_in_the_first_steps(tmp_path):
  few = [{"update/grad_norm": 1.0}] * 9
  assert watched(99.0, few, tmp_path) == ({"update/spikes": 0}, [])
  assert watched(99.0, [*few, few[0]], tmp_path)[0] == {"update/spikes": 1}
