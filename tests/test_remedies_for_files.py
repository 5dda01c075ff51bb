"""Remedies for damaged, overwritten or missing files (see test_remedies.py)."""

import json
import shutil

import numpy as np
import pytest
from test_remedies import begun, tiny

from empg_jax import envs
from empg_jax.chat import tokenizer_files
from empg_jax.checkpoint import Checkpointer, read_part
from empg_jax.config import config as configs
from empg_jax.models import fingerprint, folder
from empg_jax.tracking import metrics
from empg_jax.workdir import resume


def test_remedy_for_a_damaged_config_is_to_remove_it(tmp_path):
  begun(tmp_path, tiny())
  (tmp_path / "config.json").write_text("{")
  with pytest.raises(ValueError, match="repair or remove it"):
    resume.claim(tmp_path, tiny())
  (tmp_path / "config.json").unlink()
  assert resume.claim(tmp_path, tiny()) == [] and configs.read(tmp_path) == tiny()


@pytest.mark.parametrize("damaged", [metrics.FILE, resume.FILE])
def test_remedy_for_a_damaged_line_is_to_remove_it(tmp_path, damaged):
  begun(tmp_path, tiny())
  good = {"step": 0, "key": "num_steps", "old": 50, "new": 60}
  (tmp_path / damaged).write_text(f"{json.dumps(good)}\n{{\n{json.dumps(good)}\n")
  read = metrics.read_rows if damaged == metrics.FILE else resume.amendments
  with pytest.raises(ValueError, match="Line 2 of .*: repair the line or remove it"):
    read(tmp_path)
  lines = (tmp_path / damaged).read_text().splitlines(keepends=True)
  (tmp_path / damaged).write_text("".join(lines[:1] + lines[2:]))
  assert len(read(tmp_path)) == 2


def test_remedy_for_an_overwritten_model_is_to_restore_it(tmp_path):
  home = shutil.copytree(folder.locate("alfworld-tiny"), tmp_path / "model")
  fingerprint.claim(tmp_path, home, begun=False, weights=True)
  kept = (home / "model.safetensors").read_bytes()
  (home / "model.safetensors").write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
  with pytest.raises(ValueError, match="Put that model back there"):
    fingerprint.claim(tmp_path, home, begun=True, weights=True)
  (home / "model.safetensors").write_bytes(kept)
  fingerprint.claim(tmp_path, home, begun=True, weights=True)
  (tmp_path / fingerprint.FILE).write_text("{")
  with pytest.raises(ValueError, match="or remove it to go on without the check"):
    fingerprint.claim(tmp_path, home, begun=True, weights=True)
  (tmp_path / fingerprint.FILE).unlink()
  fingerprint.claim(tmp_path, home, begun=True, weights=True)


def test_remedy_for_a_damaged_checkpoint_is_the_one_before(tmp_path):
  checkpointer, state = Checkpointer(tmp_path), {"weight": np.arange(6.0)}
  for step in (1, 2):
    checkpointer.save(step, state)
  checkpointer.close()
  for file in (tmp_path / "2" / "state").rglob("*manifest*"):
    file.write_bytes(file.read_bytes()[:-4])
  with pytest.raises(ValueError, match="is damaged .*take the one before it"):
    read_part(tmp_path / "2", state)
  np.testing.assert_array_equal(read_part(tmp_path / "1", state)["weight"], state["weight"])


def test_remedy_for_a_missing_model(tmp_path):
  with pytest.raises(FileNotFoundError, match="give a folder with config.json and safetensors"):
    folder.locate(tmp_path / "model")
  home = shutil.copytree(folder.locate("alfworld-tiny"), tmp_path / "model")
  assert folder.locate(tmp_path / "model") == home
  (home / "tokenizer.model").unlink()
  with pytest.raises(FileNotFoundError, match="give a folder with tokenizer.json .* or tokenizer"):
    folder.chat(home)
  tokenizer_files.copy(folder.locate("alfworld-tiny"), home)
  assert folder.chat(home).end_id >= 0


def test_remedy_for_missing_games(monkeypatch):
  monkeypatch.delenv("ALFWORLD_DATA", raising=False)
  tasks = envs.find("alfworld").tasks
  with pytest.raises(FileNotFoundError, match="set ALFWORLD_DATA"):
    tasks("train", games="official")
  assert len(tasks("train", games="full")) == 2000
  for name, sets in (("webshop", "catalogue"), ("deep_search", "questions")):
    monkeypatch.delenv(f"{name.upper()}_DATA", raising=False)
    given = {sets: "small" if name == "webshop" else "files"}
    with pytest.raises(FileNotFoundError, match=f"set {name.upper()}_DATA .*, or take .*embedded"):
      envs.find(name).tasks("train", **given)
    assert envs.find(name).tasks("train", **{sets: "embedded"})
