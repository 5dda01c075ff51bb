"""A checkpoint is restored bit for bit, or an error says why not."""

import gc
import json
import logging
import os
import pathlib
import subprocess
import sys

from flax import nnx
import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from empg_jax.checkpoint import Checkpointer, MisfitError

ROOT = pathlib.Path(__file__).resolve().parents[1]

# Orbax stops at the first damaged array. Reads still in progress raise when they are collected:
# here, after the last test, when no exception refers to them.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module", autouse=True)
def collected():
  yield
  gc.collect()


class Model(nnx.Module):
  """Parameters in every place in which a module can hold them."""

  def __init__(self, seed: int):
    rngs = nnx.Rngs(seed)
    self.embed = nnx.Param(jax.random.normal(rngs.params(), (100, 100)))
    self.layers = nnx.List([nnx.Linear(4, 4, rngs=rngs) for _ in range(2)])
    self.scale = jnp.float32([1.5, -0.0])


def train_state(seed: int):
  """A training state, and every other kind of leaf."""
  model = Model(seed)
  optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))
  return {
    "model": model,
    "optimizer": optimizer.init(model),
    "arrays": (
      jnp.array([True, False]),
      jnp.bfloat16([1, 3e-39]),
      jnp.float32([np.nan, np.inf]),
      np.arange(5),
    ),
    "step": 7,
    "rate": 0.1,
    "count": np.int32(3),
  }


def assert_identical(left, right):
  assert jax.tree.structure(left) == jax.tree.structure(right)
  for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
    assert type(a) is type(b)
    if hasattr(a, "dtype"):
      assert (a.dtype, a.shape) == (b.dtype, b.shape)
    assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.fixture
def open_checkpoints(tmp_path):
  """Returns a function that opens the folder of one run as a new process would."""
  opened = []

  def open_(keep=2):
    opened.append(Checkpointer(str(tmp_path / "checkpoints"), keep=keep))
    return opened[-1]

  yield open_
  for checkpointer in opened:
    checkpointer.close()


def saved(open_checkpoints, steps=(1, 2), **options):
  """A folder with a checkpoint of `train_state(step)` for each step."""
  checkpoints = open_checkpoints(**options)
  for step in steps:
    checkpoints.save(step, train_state(step), {"tasks": ["a", step]})
  checkpoints.wait()


def test_the_newest_checkpoint_is_restored_bit_for_bit(open_checkpoints):
  saved(open_checkpoints)
  checkpoints = open_checkpoints()
  assert checkpoints.latest_step() == 2
  restored = checkpoints.restore(train_state(99))
  assert restored.step == 2
  assert restored.extra == {"tasks": ["a", 2]}
  assert_identical(restored.state, train_state(2))


def test_an_empty_folder_restores_none(open_checkpoints):
  assert open_checkpoints().latest_step() is None
  assert open_checkpoints().restore(train_state(0)) is None


def test_only_the_newest_are_kept(open_checkpoints, tmp_path):
  saved(open_checkpoints, steps=(1, 5, 9), keep=2)
  assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"5", "9"}


def test_saved_arrays_may_be_donated_at_once(open_checkpoints):
  overwrite = jax.jit(lambda tree: jax.tree.map(lambda x: x * 0, tree), donate_argnums=0)
  state = {"device": jnp.arange(300_000.0), "host": np.arange(300_000.0)}
  expected = jax.tree.map(np.array, state)
  checkpoints = open_checkpoints()
  checkpoints.save(1, state)
  jax.block_until_ready(overwrite(state["device"]))
  state["host"][:] = 0
  restored = checkpoints.restore({"device": jnp.zeros(300_000), "host": np.zeros(300_000)}).state
  np.testing.assert_array_equal(restored["device"], expected["device"])
  np.testing.assert_array_equal(restored["host"], expected["host"])


def test_a_state_is_restored_with_the_shardings_of_the_template(open_checkpoints):
  def on(shape, names, spec):
    mesh = jax.make_mesh(shape, names, axis_types=(AxisType.Explicit,) * len(shape))
    values = jnp.arange(64.0).reshape(8, 8)
    return {"w": jax.device_put(values, NamedSharding(mesh, spec))}

  checkpoints = open_checkpoints()
  checkpoints.save(1, on((4, 2), ("data", "model"), P("data", "model")))
  template = on((2, 4), ("fsdp", "tensor"), P(None, "tensor"))
  abstract = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), template
  )
  for wanted in (template, abstract):
    restored = checkpoints.restore(wanted).state
    assert restored["w"].sharding == template["w"].sharding
    assert_identical(restored, template)


def test_a_checkpoint_is_readable_without_the_classes_of_the_state(open_checkpoints, tmp_path):
  saved(open_checkpoints)
  with ocp.StandardCheckpointer() as reader:
    state = reader.restore(tmp_path / "checkpoints" / "2" / "state")
  expected = train_state(2)
  np.testing.assert_array_equal(
    state["model"]["layers"]["1"]["kernel"]["value"], expected["model"].layers[1].kernel[...]
  )
  assert int(state["step"]) == 7


def test_a_state_of_another_shape_is_refused_and_its_leaves_are_named(open_checkpoints):
  checkpoints = open_checkpoints()
  checkpoints.save(1, {"a": {"w": jnp.zeros((2, 3)), "b": jnp.zeros(3)}, "old": 1})
  with pytest.raises(MisfitError) as error:
    checkpoints.restore({"a": {"w": jnp.zeros((2, 4)), "b": jnp.zeros(3)}, "new": 1})
  assert str(error.value).endswith(
    "/checkpoints/1 is of another model or optimizer: a.w is float32[2, 3] there and"
    " float32[2, 4] here; new is not there and int64[] here; old is int64[] there and"
    " not here"
  )


def test_many_misfits_are_counted(open_checkpoints):
  checkpoints = open_checkpoints()
  checkpoints.save(1, {f"w{i}": jnp.zeros(2) for i in range(9)})
  with pytest.raises(MisfitError, match="w4 is .*; and 4 more$"):
    checkpoints.restore({f"w{i}": jnp.zeros(3) for i in range(9)})


def test_a_random_key_and_a_saved_step_are_refused(open_checkpoints):
  checkpoints = open_checkpoints()
  with pytest.raises(ValueError, match="rng.key is a random key: derive it from the step"):
    checkpoints.save(1, {"rng": {"key": jax.random.key(0)}})
  checkpoints.save(1, {"w": jnp.zeros(1)})
  with pytest.raises(ValueError, match="already holds a checkpoint of step 1"):
    checkpoints.save(1, {"w": jnp.zeros(1)})


def flip_a_bit(file):
  data = bytearray(file.read_bytes())
  data[len(data) // 2] ^= 0x10
  file.write_bytes(data)


def truncate(file):
  file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def misspell(file):
  file.write_text(file.read_text().replace("kernel", "kermel", 1))


def damaged(folder, kind):
  """Damages one checkpoint in the given way."""
  values = max((folder / "state" / "ocdbt.process_0" / "d").iterdir(), key=os.path.getsize)
  return {
    "a bit of the values flipped": lambda: flip_a_bit(values),
    "values truncated": lambda: truncate(values),
    "values missing": values.unlink,
    "tree truncated": lambda: truncate(folder / "state" / "_METADATA"),
    "manifest truncated": lambda: truncate(folder / "state" / "manifest.ocdbt"),
    "extra emptied": lambda: (folder / "extra" / "metadata").write_text(""),
    "a leaf's name misspelt": lambda: misspell(folder / "leaves" / "metadata"),
  }[kind]()


@pytest.mark.parametrize(
  "kind",
  [
    "a bit of the values flipped",
    "values truncated",
    "values missing",
    "tree truncated",
    "manifest truncated",
    "extra emptied",
    "a leaf's name misspelt",
  ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(
  open_checkpoints, tmp_path, caplog, kind
):
  saved(open_checkpoints)
  damaged(tmp_path / "checkpoints" / "2", kind)
  checkpoints = open_checkpoints()
  with caplog.at_level(logging.WARNING, logger="absl"):
    restored = checkpoints.restore(train_state(0))
  assert restored.step == 1
  assert_identical(restored.state, train_state(1))
  assert f"{tmp_path}/checkpoints/2 is damaged" in caplog.text
  # The run goes on from there, and saves the step once more.
  checkpoints.save(2, train_state(22))
  assert_identical(checkpoints.restore(train_state(0)).state, train_state(22))


def test_if_every_checkpoint_is_damaged_restoring_raises(open_checkpoints, tmp_path):
  saved(open_checkpoints)
  for step in ("1", "2"):
    damaged(tmp_path / "checkpoints" / step, "values truncated")
  with pytest.raises(ValueError, match="no checkpoint can be restored: .*/2 is .*/1 is damaged"):
    open_checkpoints().restore(train_state(0))


KILLED = """
import os, sys, jax.numpy as jnp
from empg_jax.checkpoint import Checkpointer
checkpoints = Checkpointer(sys.argv[1])
checkpoints.save(1, {"w": jnp.full(10, 1.0), "big": jnp.zeros(1)})
checkpoints.wait()
checkpoints.save(2, {"w": jnp.full(10, 2.0), "big": jnp.arange(1e7)})
os._exit(9)
"""


def test_a_process_killed_during_a_save_leaves_the_checkpoint_before(open_checkpoints, tmp_path):
  folder = tmp_path / "checkpoints"
  env = dict(os.environ, PYTHONPATH=str(ROOT))
  killed = subprocess.run([sys.executable, "-c", KILLED, str(folder)], env=env)
  assert killed.returncode == 9
  checkpoints = open_checkpoints()
  restored = checkpoints.restore({"w": jnp.zeros(10), "big": jnp.zeros(1)})
  assert restored.step == 1
  np.testing.assert_array_equal(restored.state["w"], np.full(10, 1.0))
  checkpoints.save(2, restored.state)
  checkpoints.wait()
  assert {path.name for path in folder.iterdir()} == {"1", "2"}


def test_extra_is_stored_as_plain_json(open_checkpoints, tmp_path):
  saved(open_checkpoints)
  text = (tmp_path / "checkpoints" / "2" / "extra" / "metadata").read_text()
  assert json.loads(text) == {"extra": {"tasks": ["a", 2]}}
