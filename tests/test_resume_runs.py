"""A finished run goes on for more steps, in another folder and with other values.

One small run serves all: 4 steps, and from copies of it what comes after them.
"""

import shutil

import pytest

from empg_jax.soak import compare, runs
from empg_jax.tracking import metrics
from empg_jax.workdir import resume

pytestmark = pytest.mark.slow
CHANGES = {
  "workers__count": 0, "evaluation__every": 2, "checkpoint__every": 2, "checkpoint__keep": 3,
  "optimizer__decay_steps": 0, "optimizer__warmup_steps": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
  home = tmp_path_factory.mktemp("runs")
  runs.write_model(home / "model")
  return home


def run(home, name, steps, *flags, **changes):
  """One start of the run `name` of `home`, and what it printed."""
  log = home / f"{name}.log"
  log.unlink(missing_ok=True)
  command = runs.command(home / name, home / "model", steps, **CHANGES | changes)
  process = runs.start([*command, *flags], log)
  assert process.wait(600) == 0, log.read_text()
  return log.read_text()


@pytest.fixture(scope="module")
def finished(home):
  """A function that copies the finished run of 4 steps."""
  run(home, "four", 4)
  return lambda name: shutil.copytree(home / "four", home / name)


def test_a_finished_run_that_is_extended_by_one_flag_is_the_longer_run(home, finished):
  extended = finished("extended")
  said = run(home, "extended", 6)
  assert "going on from the checkpoint of step 4" in said
  assert "from step 5 on config.num_steps is 6, not 4" in said
  run(home, "six", 6)
  assert compare.states(extended, home / "six") == []
  assert compare.rows(extended, home / "six") == []
  assert compare.played(extended, home / "six") == []


def test_operational_keys_change_silently_and_do_not_affect_training(home, finished):
  elsewhere = finished("elsewhere")
  changes = dict(workers__count=1, policy__slots=3, checkpoint__keep=1, train__size=2)
  run(home, "elsewhere", 5, rollout__max_aborted=0.5, train__remat=True, **changes)
  new, old = (metrics.read_rows(home / name)[5] for name in ("elsewhere", "six"))
  for name in ("train/return", "train/tokens", "train/turns"):
    assert new[name] == old[name], name
  for name in ("train/entropy_mean", "update/grad_norm"):  # except for rounding
    assert new[name] == pytest.approx(old[name], rel=1e-2), name
  assert len(resume.amendments(elsewhere)) == 7 and not any(
    x.change.key != "num_steps" for x in resume.seen(elsewhere)
  )


def test_steering_keys_change_with_amend_and_the_penalty_gets_its_reference(home, finished):
  amended = finished("amended")
  changes = dict(
    optimizer__learning_rate=1e-5, optimizer__warmup_steps=0, optimizer__weight_decay=0.1,
    algorithm__base__kl_coef=0.1, train__minibatches=2, rollout__max_turns=2,
  )  # fmt: skip
  said = run(home, "amended", 5, "--amend", **changes)
  assert "from step 5 on config.optimizer.learning_rate is 1e-05, not 0.0003" in said
  assert metrics.read_rows(amended)[-1]["loss/kl"] > 0  # the policy of step 4 has changed
  assert {x.step for x in resume.amendments(amended)} == {4}
  assert resume.config_at(amended, 4).algorithm.base.kl_coef == 0


def test_a_new_run_begins_with_the_final_weights_of_another(home, finished):
  run(home, "new", 1, f"--init_from={home / 'four'}@4", evaluation__every=1)
  begun, ended = metrics.read_rows(home / "new")[0], metrics.read_rows(home / "four")[4]
  played = {name: x for name, x in begun.items() if name.startswith("eval/")}
  assert played and played.items() <= ended.items()
