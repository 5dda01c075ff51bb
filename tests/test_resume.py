"""A workdir holds one run; which keys may change on resuming depends on their kinds."""

import json
import runpy

import ml_collections
import pytest

from empg_jax.config import config as configs, key_kinds
from empg_jax.distributed import hosts
from empg_jax.workdir import resume


def run_config(**changes):
  values = {
    "seed": 0, "num_steps": 4, "policy": {"slots": 8, "windows": (256, 512)},
    "optimizer": {"learning_rate": 0.5, "clip_norm": 1.0}, "env": {"name": "x", "doors": 2},
  }  # fmt: skip
  config = ml_collections.ConfigDict(values)
  with config.unlocked():
    config.update_from_flattened_dict({k.replace("__", "."): x for k, x in changes.items()})
  return config


@pytest.fixture
def begun(tmp_path):
  """The workdir of a run of `run_config` that has begun."""
  resume.claim(tmp_path, run_config())
  (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n')
  return tmp_path


def go_on(workdir, step, **changes):
  """A start with --amend, after `step`."""
  config = run_config(**changes)
  resume.record(workdir, config, resume.claim(workdir, config, amend=True), step)


def noted(workdir):
  return [(at, *change) for at, change in resume.amendments(workdir)]


def test_the_config_of_a_run_is_read_from_its_workdir(tmp_path):
  resume.claim(tmp_path / "new" / "run", run_config())
  assert configs.read(tmp_path / "new" / "run") == run_config()
  assert [file.name for file in (tmp_path / "new" / "run").iterdir()] == ["config.json"]


def test_of_several_processes_the_first_one_writes(tmp_path, monkeypatch):
  monkeypatch.setattr(hosts, "is_first", lambda: False)
  assert resume.claim(tmp_path, run_config()) == [] and list(tmp_path.iterdir()) == []


def test_other_files_in_a_workdir_do_not_matter(tmp_path):
  (tmp_path / "log.txt").touch()
  resume.claim(tmp_path, run_config())
  assert configs.read(str(tmp_path)) == run_config()


def test_the_same_config_goes_on_in_its_workdir(tmp_path):
  resume.claim(tmp_path, run_config())
  (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n')
  before = (tmp_path / "config.json").stat().st_mtime_ns
  resume.claim(tmp_path, run_config())
  assert (tmp_path / "config.json").stat().st_mtime_ns == before


def test_a_config_without_a_begun_run_is_replaced(tmp_path):
  resume.claim(tmp_path, run_config())
  resume.claim(tmp_path, run_config(seed=1))
  assert configs.read(str(tmp_path)) == run_config(seed=1)


def test_a_damaged_config_is_refused_and_unchanged(tmp_path):
  (tmp_path / "config.json").write_text('{"seed": ')
  (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n')
  with pytest.raises(ValueError, match=r"config\.json is damaged .* repair or remove it"):
    resume.claim(tmp_path, run_config())
  assert (tmp_path / "config.json").read_text() == '{"seed": '


def test_a_folder_without_a_run_and_a_file_are_refused(tmp_path):
  with pytest.raises(FileNotFoundError, match="holds no run: there is no .*config.json"):
    configs.read(str(tmp_path))
  (tmp_path / "file").write_text("")
  with pytest.raises(ValueError, match="the workdir .*file cannot be used"):
    resume.claim(tmp_path / "file", run_config())


def test_the_saved_config_is_plain_json(tmp_path):
  resume.claim(tmp_path, run_config())
  assert json.loads((tmp_path / "config.json").read_text())["policy"]["slots"] == 8


@pytest.mark.parametrize("file", ["alfworld", "webshop", "deep_search"])
def test_every_key_of_every_preset_has_a_kind(file):
  presets = runpy.run_path(configs.find(file))["_PRESETS"]
  assert {"tiny", "tiny-ppo-empg", "qwen2.5-7b"} <= presets.keys()
  for make in presets.values():
    for key, _ in configs.leaves(make()):
      assert key_kinds.is_declared(key), f"declare the kind of {key} in config/key_kinds.py"


@pytest.mark.parametrize(
  ("key", "kind"),
  [
    ("num_steps", "operational"),
    ("workers.count", "operational"),
    ("train.size", "operational"),
    ("optimizer.learning_rate", "steering"),
    ("algorithm.base.kl_coef", "steering"),
    ("policy.temperature", "steering"),
    ("seed", "identity"),
    ("model.path", "identity"),
    ("algorithm.base.name", "identity"),
    ("algorithm.doors", "identity"),  # of a user's own algorithm
    ("algorithm.base.base.name", "identity"),
    ("env.k", "identity"),
    ("rollout.something_new", "identity"),
  ],
)
def test_the_kind_of_a_key(key, kind):
  assert key_kinds.kind(key) == kind


def test_operational_keys_change_at_any_start_and_are_recorded(begun):
  config = run_config(num_steps=6, policy__slots=4, policy__windows=(512,))
  changes = resume.claim(begun, config)
  assert configs.read(begun) == run_config()  # until the run goes on
  resume.record(begun, config, changes, 4)
  assert configs.read(begun) == config
  assert noted(begun) == [
    (4, "num_steps", 4, 6), (4, "policy.slots", 8, 4), (4, "policy.windows", (256, 512), (512,)),
  ]  # fmt: skip
  assert [x.change.key for x in resume.seen(begun)] == ["num_steps"]


def test_steering_keys_change_only_with_amend(begun):
  other = run_config(optimizer__learning_rate=0.25, num_steps=6)
  with pytest.raises(ValueError) as error:
    resume.claim(begun, other)
  assert str(error.value) == (
    f"{begun} holds a run with other values: config.optimizer.learning_rate is 0.5 there and"
    " 0.25 now (steering). Add --amend to go on with the new ones, which the run records with"
    " the step; or give another --workdir."
  )
  assert configs.read(begun) == run_config() and not noted(begun)
  go_on(begun, 3, optimizer__learning_rate=0.25)
  assert noted(begun) == [(3, "optimizer.learning_rate", 0.5, 0.25)]
  assert resume.claim(begun, run_config(optimizer__learning_rate=0.25)) == []


def test_identity_keys_never_change_and_the_error_lists_all_differences(begun):
  other = run_config(seed=1, optimizer__clip_norm=2.0, extra="x")
  for amend in (False, True):
    with pytest.raises(ValueError) as error:
      resume.claim(begun, other, amend=amend)
    assert str(error.value) == (
      f"{begun} holds a run that cannot go on with this config: config.extra is nothing there and"
      " 'x' now (identity: it is unknown what depends on it), config.optimizer.clip_norm is"
      " 1.0 there and 2.0 now (steering), config.seed is 0 there and 1 now (identity: each"
      " step's tasks and samples follow from it). Give another --workdir, or the values there;"
      f" --init_from={begun} begins a new run from its weights."
    )
  assert configs.read(begun) == run_config()


def test_a_model_that_is_checked_by_content_may_move(begun):
  here = run_config(model={"path": "b"})
  (begun / configs.FILE).write_text(json.dumps(run_config(model={"path": "a"}).to_dict()))
  with pytest.raises(ValueError, match="model.path is 'a' there and 'b' now .identity: the check"):
    resume.claim(begun, here)
  assert [x.key for x in resume.claim(begun, here, model_moves=True)] == ["model.path"]


def test_each_step_has_the_config_that_was_in_force(begun):
  go_on(begun, 10, optimizer__learning_rate=0.25)
  go_on(begun, 20, optimizer__learning_rate=0.125, num_steps=40)
  rates = [resume.config_at(begun, s).optimizer.learning_rate for s in (1, 10, 11, 20, 21)]
  assert rates == [0.5, 0.5, 0.25, 0.25, 0.125]
  assert [resume.config_at(begun, s).num_steps for s in (20, 21)] == [4, 40]


def test_a_run_that_goes_on_from_before_an_amendment_has_it_from_there(begun):
  go_on(begun, 10, optimizer__learning_rate=0.25)
  go_on(begun, 20, optimizer__learning_rate=0.125)
  go_on(begun, 5, optimizer__learning_rate=0.125)  # the newer checkpoints were damaged
  assert noted(begun) == [(5, "optimizer.learning_rate", 0.5, 0.125)]
  go_on(begun, 5)  # and back
  assert noted(begun) == []


def test_fewer_steps_than_the_run_has_done_are_refused(begun):
  resume.check_done(begun, run_config(num_steps=4), 4)
  with pytest.raises(ValueError, match="num_steps is 3, but the run in .* is at step 4: give at l"):
    resume.check_done(begun, run_config(num_steps=3), 4)


def test_a_check_refuses_the_same_without_writing(begun, tmp_path):
  assert [x.key for x in resume.check(begun, run_config(num_steps=6))] == ["num_steps"]
  with pytest.raises(ValueError, match="config.seed is 0 there and 1 now"):
    resume.check(begun, run_config(seed=1))
  assert resume.check(tmp_path / "new", run_config(seed=1)) == []
  assert not (tmp_path / "new").exists()


def test_a_start_without_changes_writes_nothing(begun):
  go_on(begun, 2, num_steps=6)
  times = lambda: [path.stat().st_mtime_ns for path in sorted(begun.iterdir())]
  before = times()
  go_on(begun, 3, num_steps=6)
  assert times() == before


def test_a_damaged_amendment_is_refused(begun):
  (begun / resume.FILE).write_text('{"step": 3, "key": "num_steps", "old": 4, "new": 6}\n{"step":')
  with pytest.raises(ValueError, match="Line 2 of .*amendments.jsonl is not an amendment"):
    resume.amendments(begun)


@pytest.mark.parametrize("there", ["compiled", "checkpoints", "config.json.12", "lock"])
def test_the_leftovers_of_a_failed_start_are_not_a_run(tmp_path, there):
  resume.claim(tmp_path, run_config())
  (tmp_path / there).mkdir()
  resume.claim(tmp_path, run_config(seed=1))
  assert configs.read(tmp_path) == run_config(seed=1)


def test_the_folder_of_a_model_is_refused_as_a_workdir(tmp_path):
  (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
  with pytest.raises(ValueError, match="config.json is not the config of a run: choose another"):
    resume.claim(tmp_path, run_config())
  assert (tmp_path / "config.json").read_text() == '{"model_type": "qwen2"}'


def test_a_checkpoint_alone_is_a_run(tmp_path):
  resume.claim(tmp_path, run_config())
  (tmp_path / "checkpoints" / "3").mkdir(parents=True)
  with pytest.raises(ValueError, match="config.seed is 0 there and 1 now"):
    resume.claim(tmp_path, run_config(seed=1))
