"""Every released preset fits its hardware, with all that a run keeps in memory."""

from jax.sharding import AbstractMesh, AxisType
import pytest

from empg_jax.config import config as configs, slices
from empg_jax.distributed import sharding
from empg_jax.plan import chips, fitting, memory, shapes
from empg_jax.plan.compiling import TooLarge

# GiB for temporaries, which only the compiler knows; launch/plan.py has them.
ROOM = {"v5e": 1.5, "v5p": 4.0}


def counted(name, ahead=0, **policy):
  config = configs.load(f"configs/alfworld.py:{name}")
  config.policy.update(policy)
  config.rollout.ahead = ahead
  sizes = tuple(config.mesh[axis] for axis in sharding.AXES)
  mesh = AbstractMesh(sizes, sharding.AXES, axis_types=(AxisType.Auto,) * 3)
  return config, memory.items(config, shapes.of("", name), mesh)


def unknown(items):
  return dict.fromkeys(memory.PROGRAMS)


@pytest.mark.parametrize("name", slices.MODELS)
def test_a_preset_takes_all_of_its_hardware_and_fits_it(name):
  made = slices.MODELS[name]
  config, items = counted(name)
  assert config.mesh.fsdp * config.mesh.tensor == chips.count(made.topology)
  assert shapes.of("", name).num_key_value_heads % made.tensor == 0
  (cache,) = (item for item in items if item.lives == item.inside == memory.SAMPLING)
  # A GPU's turn takes about as much beside its cache.
  room = ROOM.get(made.topology.partition(":")[0], cache.device / 2**30)
  fitting.check(items, unknown(items), chips.of(made.topology).memory - room)


def test_ahead_an_update_shares_the_memory_with_what_samples_meanwhile():
  name = "qwen2.5-0.5b-h100"
  (_, apart), (_, ahead) = counted(name), counted(name, ahead=1)
  sampling = sum(
    item.device for item in apart if "write" in item.lives and "train" not in item.lives
  )
  copy = next(item.device for item in apart if item.name.startswith("parameters"))
  more = memory.needs(ahead, "train") - memory.needs(apart, "train")
  assert more == sampling + copy > copy
  assert memory.needs(ahead, "reshard") == memory.needs(apart, "reshard") + 2 * copy


def test_the_papers_presets_are_of_the_same_hardware():
  assert slices.of("paper-dapo-empg-7b") == slices.MODELS["qwen2.5-7b"]
  assert slices.of("paper-grpo-llama-8b") == slices.MODELS["llama3.1-8b"]
  assert slices.of("tiny") is None and slices.of("qwen2.5") is None
  assert shapes.of("", "paper-dapo-32b") == shapes.KNOWN["qwen2.5-32b"]


def test_seven_billion_parameters_leave_half_of_a_chip():
  _, items = counted("qwen2.5-7b")
  fitting.check(items, unknown(items), 8.0 - 0.9)
  (sampling,) = (item for item in items if item.name == "policy that samples")
  assert "train" not in sampling.lives  # train.py frees it before the update


def test_the_error_says_how_much_memory_is_missing_and_which_change_fits():
  config, items = counted("qwen2.5-1.5b", slots=128)
  with pytest.raises(
    TooLarge, match=r"takes 18\.\d GiB per chip, 2\.\d more than the 15.75"
  ) as error:
    fitting.check(items, unknown(items), 15.75)
  assert error.value.program in memory.SAMPLING
  mesh = AbstractMesh((1, 4, 2), sharding.AXES, axis_types=(AxisType.Auto,) * 3)
  shape = shapes.of("", "qwen2.5-1.5b")

  def fits(limit, config):
    fitting.check(memory.items(config, shape, mesh), unknown(items), limit)

  advice = lambda limit: fitting.advice(
    fitting.of_rollout(config, 4), lambda config: fits(limit, config)
  )
  assert advice(15.75) == "it fits with config.policy.slots=64"
  assert advice(4.25) == "it fits with config.policy.max_length=8192 and slots=4"
  assert advice(1.0).startswith("no smaller one fits either: take more chips")


def test_a_program_counts_what_is_kept_beside_it_once():
  gib = 2**30
  items = [
    memory.Item("parameters", gib, gib, inside=("train",)),
    memory.Item("policy that samples", gib, gib, inside=memory.SAMPLING),
    memory.Item("cache", gib, gib, memory.SAMPLING, memory.SAMPLING),
    memory.Item("gradient", gib, gib, ("train",), ("train",)),
  ]
  assert memory.needs(items, "train") == 3 * gib  # without temporaries
  assert memory.needs(items, "train", 5 * gib) == 6 * gib  # parameters and gradient are in the peak
  assert memory.needs(items, "write", 4 * gib) == 5 * gib
