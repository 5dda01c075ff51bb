"""Configs are checked on loading."""

import json

import jax
import ml_collections
import pytest

from empg_jax.config import config as configs
from empg_jax.workdir import resume


def rollout(policy, *, group_size: int, temperature: float = 1.0, chunks=(1, 2)):
  """A function that a section of a config configures."""


def run_config(**changes):
  values = {"seed": 0, "lengths": (256, 512), "rollout": {"group_size": 8, "top": 0.9}}
  return ml_collections.ConfigDict(values | changes)


def check(**section):
  configs.check_arguments(rollout, section, "config.rollout", given=["policy"])


def test_a_section_that_is_the_arguments_of_its_function_passes():
  check(group_size=8)
  check(group_size=8, temperature=0, chunks=(4,))


@pytest.mark.parametrize(
  ("section", "sentence"),
  [
    (
      dict(grup_size=8),
      "config.rollout has an unknown key 'grup_size': did you mean 'group_size'?"
      " there are chunks, group_size, temperature",
    ),
    (
      dict(group_size=8, policy=None),
      "config.rollout has an unknown key 'policy': there are chunks, group_size, temperature",
    ),
    (dict(temperature=1.0), "config.rollout lacks the key 'group_size'"),
    (dict(group_size="8"), "config.rollout.group_size is '8', but must be of type int"),
    (dict(group_size=True), "config.rollout.group_size is True, but must be of type int"),
  ],
)
def test_a_section_that_does_not_fit_its_function_is_refused(section, sentence):
  with pytest.raises(ValueError) as error:
    check(**section)
  assert str(error.value) == sentence


@pytest.mark.parametrize(
  ("value", "example", "fits"),
  [
    (1, 1.0, True),
    (1.0, 1, False),
    (True, 1, False),
    (True, 1.0, False),
    ("a", "", True),
    ((1, 2, 3), (1,), True),
    ((1, 2.5), (1,), False),
    ((1, 2), (), True),
    (3, (1,), False),
  ],
)
def test_a_value_has_to_be_like_the_one_in_the_file(value, example, fits):
  assert configs.is_like(value, example) == fits


def test_leaves_are_named_by_their_whole_path():
  assert dict(configs.leaves(run_config())) == {
    "seed": 0,
    "lengths": (256, 512),
    "rollout.group_size": 8,
    "rollout.top": 0.9,
  }


@pytest.mark.parametrize("name", ["alfworld:tiny-full", "configs/alfworld.py:tiny-full"])
def test_the_package_s_own_config_is_found_from_any_folder(tmp_path, monkeypatch, name):
  monkeypatch.chdir(tmp_path)
  assert configs.load(name).tasks.games == "full"
  with pytest.raises(FileNotFoundError, match="'alfwrld': did you mean 'alfworld'?"):
    configs.load("alfwrld")


def test_an_existing_file_goes_before_the_package_s_own(tmp_path, monkeypatch):
  (tmp_path / "configs").mkdir()
  (tmp_path / "configs" / "alfworld.py").write_text(
    "import ml_collections\n\ndef get_config():\n  return ml_collections.ConfigDict({'a': 1})\n"
  )
  monkeypatch.chdir(tmp_path)
  assert configs.load("configs/alfworld.py").a == 1


def test_a_file_with_a_value_no_command_line_can_set_is_refused(tmp_path):
  file = tmp_path / "listed.py"
  file.write_text(
    "import ml_collections\ndef get_config(): return ml_collections.ConfigDict({'a': {'b': [1]}})\n"
  )
  with pytest.raises(ValueError, match=r"config\.a\.b of .* is \[1\], but .* only bool, int"):
    configs.load(str(file))


def test_a_new_workdir_is_private_and_records_the_versions(tmp_path):
  workdir = tmp_path / "runs" / "new"
  resume.claim(workdir, run_config())
  assert workdir.stat().st_mode & 0o777 == 0o700
  assert configs.note_versions(workdir) is None
  versions = json.loads((workdir / "versions.json").read_text())
  assert versions["jax"] == jax.__version__ and {"flax", "empg_jax", "python"} <= versions.keys()
  resume.claim(workdir, run_config(seed=1))  # nothing has been computed yet
  (workdir / "versions.json").write_text(json.dumps(versions | {"jax": "0.1.2"}))
  assert configs.note_versions(workdir) == (
    f"installed versions have changed since: jax 0.1.2 -> {jax.__version__}"
  )
  assert configs.note_versions(workdir) is None
  for damage in ('{"jax": ', "", "7", "[7]"):
    (workdir / "versions.json").write_text(damage)
    assert "versions.json was damaged" in configs.note_versions(workdir)
    assert json.loads((workdir / "versions.json").read_text()) == versions
