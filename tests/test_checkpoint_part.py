"""A part of a checkpoint is read on its own, unchanged or refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from empg_jax.checkpoint import Checkpointer, MisfitError, read_part

STATE = {
  "model": {"weight": jnp.arange(6.0).reshape(2, 3), "bias": jnp.ones(2, jnp.bfloat16)},
  "moments": {"weight": jnp.zeros((2, 3))},
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
  directory = tmp_path_factory.mktemp("checkpoints")
  checkpointer = Checkpointer(directory)
  checkpointer.save(3, STATE)
  checkpointer.close()
  return directory / "3"


def test_a_part_is_restored_without_the_rest(checkpoint):
  part = read_part(checkpoint, {"model": jax.tree.map(jnp.zeros_like, STATE["model"])})
  assert part.keys() == {"model"}
  jax.tree.map(np.testing.assert_array_equal, part["model"], STATE["model"])


def test_a_part_of_another_shape_is_refused(checkpoint):
  with pytest.raises(MisfitError, match=r"model.weight is float32\[2, 3\] there"):
    read_part(checkpoint, {"model": {"weight": jnp.zeros((3, 3))}})


def test_a_damaged_checkpoint_is_refused(checkpoint):
  for file in (checkpoint / "state").rglob("*"):
    if file.is_file() and "manifest" in file.name:
      file.write_bytes(file.read_bytes()[:-4])
  with pytest.raises(ValueError, match="is damaged .* take the one before it"):
    read_part(checkpoint, {"model": STATE["model"]})
