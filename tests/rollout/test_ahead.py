"""rollout.ahead=1: a step's episodes are played during the update before, and a resume is exact."""

import jax
import numpy as np
import pytest

from empg_jax.checkpoint import Checkpointer
from empg_jax.config import config as configs
from empg_jax.distributed.preemption import Stopped
from empg_jax.loop import Run, settings
from empg_jax.soak import runs

STEPS = 4
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(tmp_path_factory):
  home = tmp_path_factory.mktemp("ahead") / "model"
  runs.write_model(home)
  config = configs.load("alfworld:smoke")
  config.num_steps, config.model.path = STEPS, str(home)
  config.rollout.update(tasks=2, group_size=4, max_turns=3, invalid_penalty=0.1, ahead=1)
  config.policy.update(slots=4, max_length=256, windows=(256,), piece_lengths=(48,), max_reply=12)
  config.policy.compute_dtype = "float32"  # so that a policy could share the trained arrays
  config.pack.lengths, config.optimizer.learning_rate = (256,), 1e-2
  return config


@pytest.fixture(scope="module")
def made(config):
  """The programs of a loaded run, which all runs here share: they compile once."""
  with Run(config) as run:
    run.load()
    return run._update, run._frozen


def loaded(config, made, **options):
  run = Run(config, **options)
  run.load()
  run._update, run._frozen = made
  return run


def ids(groups):
  return [[turn.reply.tolist() for turn in episode.turns] for episode in groups.played]


def go_on(run, first, last):
  """What is played in each step, and how far its policy is behind."""
  found = {}
  for step in range(first, last + 1):
    groups = run.collect(step)
    found[step] = ids(groups), groups.lag
    run.update(run.pack(groups)[1])
  return found


@pytest.fixture(scope="module")
def straight(config, made):
  """A run from its first step to its last: what it played, and its last state."""
  with loaded(config, made) as run:
    return go_on(run, 1, STEPS), jax.device_get(run.saved())


def assert_equal(left, right):
  for one, other in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
    np.testing.assert_array_equal(one, other)


def test_a_step_is_played_by_the_policy_before_the_last_update(config, made, straight):
  played, last = straight
  assert [lag for _, lag in played.values()] == [0, 1, 1, 1]
  with loaded(config, made) as run:
    groups = {step: run.collect(step) for step in (1, 2)}  # by the policy of the beginning
    assert {step: ids(groups[step]) for step in groups} == {s: played[s][0] for s in groups}
  in_turn = config.copy_and_resolve_references()
  in_turn.rollout.ahead = 0
  with loaded(in_turn, made) as run:
    run.update(run.pack(run.collect(1))[1])
    assert ids(run.collect(3)) == played[3][0] != ids(run.collect(2))
  assert last.sampler is not None


def test_the_mismatch_of_sampler_and_update_shows_the_lag(config, made):
  with loaded(config, made) as run:
    for step in (1, 2):
      metrics = run.update(run.pack(run.collect(step))[1])
      if step == 1:
        on_policy = float(metrics["loss/behavior_kl"])
  assert abs(on_policy) < 1e-4 < float(metrics["loss/behavior_kl"])


def test_a_run_that_goes_on_plays_again_what_was_in_flight(config, made, straight, tmp_path):
  played, last = straight
  asked = False
  checkpointer = Checkpointer(tmp_path)
  with loaded(config, made, asked_to_stop=lambda: asked) as run:
    go_on(run, 1, 2)
    asked = True
    try:
      run.collect(3)
    except Stopped:
      pass  # it may have been played already
    checkpointer.save(2, run.saved())
  with loaded(config, made) as run:
    restored = checkpointer.restore(run.template(), run.fit)
    run.restore(restored.state)
    run.evaluate(2)  # by the newest policy, in between
    assert go_on(run, 3, STEPS) == {step: played[step] for step in (3, 4)}
    assert_equal(jax.device_get(run.saved()), last)
  checkpointer.close()


def test_a_checkpoint_without_the_sampler_is_one_too(config, made, tmp_path):
  checkpointer = Checkpointer(tmp_path)
  with loaded(config, made) as run:
    checkpointer.save(1, run.state)  # as of a run with ahead=0
    restored = checkpointer.restore(run.template(), run.fit)
    run.restore(restored.state)
    assert run.collect(2).lag == 0
  checkpointer.close()


def test_what_fails_while_it_is_played_ahead_is_raised_where_it_is_collected(config, made):
  with loaded(config, made) as run:
    _, rows = run.pack(run.collect(1))
    run._play = lambda *_: (_ for _ in ()).throw(RuntimeError("no episode"))
    run.update(rows)
    with pytest.raises(RuntimeError, match="no episode"):
      run.collect(2)


def test_several_devices_are_refused(config):
  changed = config.copy_and_resolve_references()
  changed.mesh.data = 2
  with pytest.raises(ValueError, match="rollout.ahead is 1 and config.mesh takes 2 devices"):
    settings.check(changed, Run(config).environment)
