"""A batch is saved and loaded unchanged, and any other file raises a one-line error."""

import dataclasses

import numpy as np
import pytest

from empg_jax.training import replay
from empg_jax.types import Batch

ROWS, LENGTH = 3, 5
# Without values, which an update computes itself.
FIELDS = [field.name for field in dataclasses.fields(Batch) if field.name != "values"]


def drawn():
  rng = np.random.default_rng(0)
  ids = lambda *shape: rng.integers(0, 9, shape).astype(np.int32)
  floats = lambda *shape: rng.normal(size=shape).astype(np.float32)
  of_tokens = {name: ids(ROWS, LENGTH) for name in ("tokens", "actions", "steps", "anchors")} | {
    name: floats(ROWS, LENGTH) for name in ("behavior_logprobs", "behavior_entropy", "rewards")
  }
  of_tokens["behavior_logprobs"][1, 2] = np.nan
  return Batch(**of_tokens, returns=floats(ROWS), group_ids=ids(ROWS), episode_ids=ids(ROWS))


def test_a_batch_comes_back_as_it_was(tmp_path):
  path = tmp_path / "skipped" / "step_3.npz"
  replay.save(drawn(), path)
  back = replay.load(path)
  for name in FIELDS:
    kept, was = getattr(back, name), getattr(drawn(), name)
    assert kept.dtype == was.dtype
    np.testing.assert_array_equal(kept, was)
  assert [file.name for file in path.parent.iterdir()] == ["step_3.npz"]


def test_a_file_that_is_not_a_batch_is_refused(tmp_path):
  path = tmp_path / "step_3.npz"
  with pytest.raises(FileNotFoundError, match="There is no batch .*step_3.npz"):
    replay.load(path)
  arrays = {name: getattr(drawn(), name) for name in FIELDS}
  wrong = [
    b"no zip",
    dict(arrays, tokens=np.array([{}], object)),
    {name: array for name, array in arrays.items() if name != "returns"},
    dict(arrays, returns=arrays["rewards"]),
    dict(arrays, steps=arrays["rewards"]),
    dict(arrays, tokens=arrays["group_ids"]),
  ]
  for content in wrong:
    if isinstance(content, bytes):
      path.write_bytes(content)
    else:
      np.savez(path, **content)
    with pytest.raises(ValueError, match="step_3.npz is not a batch that a run kept: ") as caught:
      replay.load(path)
    assert len(str(caught.value).splitlines()) == 1
