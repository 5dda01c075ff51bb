"""Advice in messages and READMEs works: each remedy is tested here or in the named test.

The runs that a remedy needs are in test_resume_runs.py; most remedies need none.
"""

import ast
import dataclasses
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from readmes import ROOT, TEXTS

from empg_jax import envs
from empg_jax.cli import dry_run
from empg_jax.config import config as configs, key_kinds
from empg_jax.distributed import sharding
from empg_jax.loop import settings
from empg_jax.rollout.pack import pack
from empg_jax.tracking import metrics
from empg_jax.training import guard
from empg_jax.types import Episode, Turn
from empg_jax.workdir import resume

# The rows of launch/README.md's table, and the tests of their remedies.
CARRIED_OUT = {
  "config.mesh is": "test_remedies.py::test_remedy_for_too_few_devices",
  "does not fit": "test_remedies.py::test_remedy_for_memory_goes_on_with_the_run",
  "holds a run with other values": "test_resume.py::test_steering_keys_change_only_with_amend",
  "cannot go on with this config": "test_remedies.py::test_remedy_for_another_run_is_its_workdir",
  "is in use by": "test_workdir_lock.py::test_a_workdir_is_free_once_its_run_releases_it",
  "is not the model that": "test_remedies_for_files.py::test_remedy_for_an_overwritten_model_is_to_restore_it",
  "the cache": "envs/test_cache.py::test_a_cache_that_can_only_be_read_will_do",
  "There is no model in": "test_remedies_for_files.py::test_remedy_for_a_missing_model",
  "set ALFWORLD_DATA": "test_remedies_for_files.py::test_remedy_for_missing_games",
  "was not finite in step": "test_resume_runs.py::test_steering_keys_change_with_amend_and_the_penalty",
  "was played, since each": "test_remedies.py::test_remedy_for_an_environment_that_fails",
  "aborted in step": "test_remedies.py::test_remedy_for_aborted_episodes",
  "has no chat template": "chat/test_template_chat.py::test_remedy_for_a_base_model_is_a_template",
  "can encode to the special token": "chat/test_template_chat.py::test_a_folder_is_loaded_and_none",
  "there is no module": "test_lookup.py::test_a_module_elsewhere_is_found_by_its_full_name",
}


def messages():
  """The first column of launch/README.md's table."""
  return re.findall(
    r"^\| (`.*?) \| ", TEXTS["launch/README.md"].split("## When it prints")[1], re.M
  )


@pytest.mark.parametrize("message", messages())
def test_every_remedy_of_the_table_is_carried_out_by_a_test(message):
  found = [test for words, test in CARRIED_OUT.items() if words in message]
  assert found, f"carry out what {message} advises, and name the test in CARRIED_OUT"
  file, name = found[0].split("::")
  assert re.search(rf"^def {name}", (ROOT / "tests" / file).read_text(), re.M), found[0]


def tiny(**changes):
  config = configs.load("configs/alfworld.py")
  config.update_from_flattened_dict({k.replace("__", "."): x for k, x in changes.items()})
  return config


def begun(workdir, config):
  """A run of `config` has computed something in `workdir`."""
  resume.claim(workdir, config)
  (workdir / metrics.FILE).write_text('{"step": 0}\n{"step": 1}\n')
  return workdir


# Advice for a run that stopped, by key: a value, and whether it needs --amend.
ADVISED = {
  "train.size": (1, False),
  "train.remat": (True, False),
  "policy.slots": (8, False),
  "policy.piece_lengths": ((48, 192), False),
  "pack.lengths": ((2048,), False),
  "mesh.fsdp": (2, False),
  "mesh.tensor": (1, False),
  "mesh.data": (0, False),
  "workers.count": (2, False),
  "workers.timeout_s": (600.0, False),
  "workers.memory_mib": (4096, False),
  "rollout.max_aborted": (1.0, False),
  "num_steps": (80, False),
  "evaluation.splits": (("valid_seen",), False),
  "policy.max_length": (512, True),
  "policy.max_reply": (16, True),
  "optimizer.learning_rate": (1e-5, True),
  "optimizer.decay_steps": (0, True),
  "train.minibatches": (2, True),
  "rollout.max_rounds": (3, True),
  "rollout.group_size": (4, True),
  "algorithm.base.kl_coef": (0.01, True),
}
# Advice before there is a run.
AT_ITS_BEGINNING = {"model.path", "model.dtype", "tasks.games", "lora.rank"}


@pytest.mark.parametrize("key", ADVISED)
def test_remedy_for_memory_goes_on_with_the_run(tmp_path, key):
  value, amend = ADVISED[key]
  begun(tmp_path, tiny())
  changed = tiny(**{key: value})
  if key in ("policy.max_length", "mesh.fsdp", "train.size"):
    settings.check(changed, envs.find("alfworld"), devices=8)
  if amend:
    with pytest.raises(ValueError, match=f"config.{key} is .* Add --amend"):
      resume.claim(tmp_path, changed)
  changes = resume.claim(tmp_path, changed, amend=amend)
  assert [change.key for change in changes] == [key] * (value != dict(configs.leaves(tiny()))[key])


def raised():
  """The strings of all raise statements of the code."""
  for path in (*(ROOT / "empg_jax").rglob("*.py"), *(ROOT / "launch").glob("*.py")):
    for statement in ast.walk(ast.parse(path.read_text())):
      for node in ast.walk(statement) if isinstance(statement, ast.Raise) else ():
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
          yield node.value


def test_no_remedy_for_a_run_names_a_key_that_cannot_change():
  known = {key for file in ("alfworld", "webshop", "deep_search")
           for key, _ in configs.leaves(configs.load(file))}  # fmt: skip
  text = "\n".join([*raised(), TEXTS["launch/README.md"].split("## When it prints")[1]])
  named = set(re.findall(r"(?:[a-z_]+\.)+[a-z_]+", text.replace("config.", ""))) & known
  assert {"optimizer.learning_rate", "train.size", "policy.piece_lengths"} <= named
  assert not {x for x in named if key_kinds.kind(x) == "identity"} - AT_ITS_BEGINNING


def test_remedy_for_too_few_devices():
  config = configs.load("configs/alfworld.py:qwen2.5-7b")
  with pytest.raises(ValueError, match="but JAX finds .*choose axes whose product"):
    sharding.make_mesh(**config.mesh)
  settings.check(config, envs.find("alfworld"), devices=dry_run.devices(config))
  for mesh in (dict(data=1, fsdp=4, tensor=2), dict(data=0, fsdp=1, tensor=2)):
    assert sharding.make_mesh(**mesh).size == 8


def test_remedy_for_another_run_is_its_workdir(tmp_path):
  begun(tmp_path / "run", tiny())
  with pytest.raises(ValueError, match="Give another --workdir, or the values there"):
    resume.claim(tmp_path / "run", tiny(seed=1), amend=True)
  assert resume.claim(tmp_path / "other", tiny(seed=1)) == []
  assert resume.claim(tmp_path / "run", tiny()) == []


BROKEN = """
import ml_collections
from empg_jax.config import presets

def make():
  raise RuntimeError("the door is stuck")

def tasks(split):
  return ["a"]

def task_type(task):
  return "a"

def get_config():
  evaluation = dict(every=1, splits=("valid",), tasks=1, temperature=1.0)
  return ml_collections.ConfigDict(presets.tiny("alfworld-tiny") | dict(
      env=dict(name="lab.broken"), tasks={}, evaluation=evaluation))
"""


def test_remedy_for_an_environment_that_fails(tmp_path):
  (tmp_path / "lab").mkdir()
  (tmp_path / "lab" / "broken.py").write_text(BROKEN)
  done = subprocess.run(
      [sys.executable, str(ROOT / "launch" / "play.py"), "--config=lab/broken.py",
       "--config.workers.count=0"],
      cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
      timeout=600,
  )  # fmt: skip
  assert done.returncode == 1 and "the door is stuck" in done.stderr


def test_remedy_for_aborted_episodes():
  info = {"error": "it hung", "fault": "hang"}
  aborted = Episode("t", 0, 0, (), 0.0, False, "aborted", info)
  played = [aborted, *[dataclasses.replace(aborted, ended="done", info={})] * 3]
  with pytest.raises(RuntimeError, match="more than the share of 0.2 that rollout.max_aborted"):
    guard.check_aborted(played, 0.2, step=3)
  guard.check_aborted(played, 0.25, step=3)


def test_remedy_for_an_episode_longer_than_the_rows():
  zeros = np.zeros(2, np.float32)
  turn = Turn((5,) * 10, np.array([7, 3], np.int32), zeros, zeros, "", "", None, 0.0)
  played = [Episode("t", 0, 0, (turn,), 0.0, False, "done", {})]
  with pytest.raises(ValueError, match="add a length of at least 1. to `lengths`") as error:
    pack(played, lengths=(8,))
  least = int(re.search(r"at least (\d+)", str(error.value))[1])
  assert pack(played, lengths=(8, least)).tokens.shape == (1, least)


@pytest.mark.parametrize(
    ("broken", "sentence", "mended"),
    [
        (dict(train__size=3), "choose train.minibatches and train.size", dict(train__size=2)),
        (dict(policy__max_length=2048), "raise the one or lower the other",
         dict(policy__max_length=2048, pack__lengths=(2048,))),
        (dict(model__dtype="bfloat16"), "or adapters .config.lora.rank",
         dict(model__dtype="bfloat16", lora__rank=4)),
        (dict(rollout__group_size=1, rollout__tasks=128, rollout__max_rounds=3),
         "set max_rounds to 0, or group_size to 2",
         dict(rollout__group_size=1, rollout__tasks=128, rollout__max_rounds=0)),
        (dict(mesh__data=2, train__size=1), "make it a multiple of", dict(mesh__data=2)),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)  # fmt: skip
def test_remedy_for_settings_that_do_not_go_together(broken, sentence, mended):
  with pytest.raises(ValueError, match=sentence):
    settings.check(tiny(**broken), envs.find("alfworld"), devices=8)
  settings.check(tiny(**mended), envs.find("alfworld"), devices=8)
