"""A workdir may have any name, and older checkpoints stay if a newer one cannot be read."""

import os
import pathlib

import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from empg_jax.checkpoint import Checkpointer, MisfitError, literal_path, orbax_logs, read_part
from empg_jax.cli import command_line

TEMPLATE = {"w": np.zeros(1000, np.float32), "step": 0}


@pytest.fixture(autouse=True)
def silenced():
  orbax_logs.silence()


def state(step):
  return {"w": jnp.arange(1000.0) + step, "step": step}


def saved(folder, steps=(1, 2), keep=1):
  checkpoints = Checkpointer(folder, keep=keep)
  for step in steps:
    checkpoints.save(step, state(step), {"at": step})
  checkpoints.close()


def names(folder):
  return {path.name for path in folder.iterdir()}


def assert_holds(folder, step):
  checkpoints = Checkpointer(folder, keep=1)
  restored = checkpoints.restore(TEMPLATE)
  checkpoints.close()
  assert (restored.step, restored.extra) == (step, {"at": step})
  np.testing.assert_array_equal(restored.state["w"], state(step)["w"])
  part = read_part(folder / str(step), {"w": TEMPLATE["w"]})
  np.testing.assert_array_equal(part["w"], state(step)["w"])


@pytest.mark.parametrize(
  "name",
  ["kl[0.1]", "a [b]\\c", "run [lr=1e-5]", "a*", "a?", "new\nline", "~", "%41", "#", os.fsdecode(b"\xff")],
  ids=ascii,
)  # fmt: skip
def test_a_workdir_of_any_name_resumes(tmp_path, name):
  # As a glob pattern, or with slashes for backslashes, the name is that of another run.
  for other in ("ab", "kl0", "a [b]/c"):
    saved(tmp_path / other / "checkpoints", steps=(7,))
  folder = tmp_path / name / "checkpoints"
  saved(folder)
  assert names(folder) == {"2"}
  assert_holds(folder, 2)
  saved(folder, steps=(3,))
  assert_holds(folder, 3)


def test_messages_name_the_workdir_as_it_is(tmp_path):
  folder = tmp_path / "a [b]" / "checkpoints"
  saved(folder)
  with pytest.raises(MisfitError) as error:
    Checkpointer(folder).restore({"v": np.zeros(3)})
  assert f"the checkpoint {folder}/2 is of another model" in str(error.value)
  with pytest.raises(MisfitError) as error:
    read_part(folder / "2", {"v": np.zeros(3)})
  assert f"the checkpoint {folder}/2 is of another model" in str(error.value)
  (folder / "2" / "leaves" / "metadata").write_text("")
  with pytest.raises(ValueError, match=r"damaged .*take the one before") as error:
    read_part(folder / "2", {"w": np.zeros(3)})
  assert "/proc/" not in str(error.value)


def test_a_workdir_that_cannot_be_used_is_refused_before_a_run(tmp_path, monkeypatch):
  monkeypatch.setattr(literal_path, "_DESCRIPTORS", pathlib.Path("nowhere"))
  with pytest.raises(ValueError, match="cannot be kept in .*choose another --workdir") as error:
    Checkpointer(tmp_path / "a [b]" / "checkpoints")
  assert command_line.is_for_the_user(error.value)


def lose_the_manifest(state_folder):
  (state_folder / "manifest.ocdbt").unlink()


def flip_values(state_folder):
  for file in (state_folder / "ocdbt.process_0" / "d").iterdir():
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0x10
    file.write_bytes(data)


def empty_the_list(state_folder):
  (list_,) = state_folder.parent.glob("leaves*/metadata")
  list_.write_text("{}")


@pytest.mark.parametrize("spoil", [lose_the_manifest, flip_values, empty_the_list])
def test_a_save_that_cannot_be_read_back_ends_a_run_and_resume_takes_the_older(
  tmp_path, monkeypatch, spoil
):
  saved(tmp_path, steps=(1,))
  finalize = ocp.PyTreeCheckpointHandler.finalize

  def spoilt(self, folder):
    finalize(self, folder)
    spoil(pathlib.Path(folder))

  checkpoints = Checkpointer(tmp_path, keep=1)
  with monkeypatch.context() as patch:
    patch.setattr(ocp.PyTreeCheckpointHandler, "finalize", spoilt)
    with pytest.raises(OSError, match="step 2 was written .* cannot be read back") as error:
      checkpoints.save(2, state(2))
      checkpoints.wait()
  assert command_line.is_for_the_user(error.value)
  assert "1" in names(tmp_path) and "2" not in names(tmp_path)
  checkpoints = Checkpointer(tmp_path, keep=1)
  assert checkpoints.restore(TEMPLATE).step == 1
  checkpoints.save(2, state(2), {"at": 2})
  checkpoints.close()
  assert_holds(tmp_path, 2)
