"""Plans: operations counted through loops, rooflines, advice, and one-line errors."""

import pathlib

import jax
import jax.numpy as jnp
import ml_collections
import pytest

from empg_jax.cli import command_line
from empg_jax.config import config as configs, slices
from empg_jax.kernels import hardware
from empg_jax.models.decoder import Decoder, DecoderConfig
from empg_jax.plan import chips, compiling, fitting, flops, programs, report, shapes, topology
from empg_jax.plan.compiling import TooLarge
from empg_jax.training import microbatch

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHAPE = DecoderConfig(256, 64, 128, 3, 4, 2, 16)


def counted(f, *args):
  return flops.of_program(jax.jit(f).trace(*args).jaxpr, 1)


def test_a_scan_counts_its_body_at_every_trip():
  x = jnp.ones((4, 4))
  scanned = lambda x: jax.lax.scan(lambda c, _: (c @ x, None), x, length=7)[0]
  assert counted(scanned, x) == 7 * 2 * 4**3


def test_the_costliest_branch_counts():
  x = jnp.ones((4, 4))
  f = lambda i, x: jax.lax.switch(i, [lambda x: x, lambda x: x @ x @ x], x)
  assert counted(f, 1, x) == 2 * 2 * 4**3


def test_on_shards_every_device_counts():
  mesh = jax.make_mesh((8,), ("x",), (jax.sharding.AxisType.Auto,))
  spec = jax.sharding.PartitionSpec()
  f = jax.shard_map(lambda x: x @ x, mesh=mesh, in_specs=spec, out_specs=spec)
  traced = jax.jit(f).trace(jnp.ones((4, 4)))
  assert flops.of_program(traced.jaxpr, 8) == 8 * 2 * 4**3


def test_a_forward_and_backward_pass_is_6_n_d_and_attention():
  model = jax.eval_shape(lambda: Decoder(SHAPE, jax.random.key(0)))
  tokens = jax.ShapeDtypeStruct((2, 64), jnp.int32)
  loss = lambda model, tokens: jnp.sum(model(tokens) @ model.unembedding)
  got = counted(jax.grad(loss), model, tokens)
  # One block of queries: scores above the diagonal are computed, and twice in all.
  scores = 2 * 64 * 64 * SHAPE.num_hidden_layers * 4 * 16
  assert got == flops.of_model(SHAPE, 2, 64) + (14 - 6) * scores


@pytest.mark.parametrize("name", shapes.KNOWN)
def test_known_shapes_have_the_number_of_parameters_in_their_names(name):
  shape = shapes.KNOWN[name]
  model = jax.eval_shape(lambda: Decoder(shape, jax.random.key(0)))
  billions = sum(x.size for x in jax.tree.leaves(model)) / 1e9
  assert billions == pytest.approx(float(name.split("-")[1].removesuffix("b")), rel=0.1)


def test_unknown_topologies_and_models_are_refused():
  with pytest.raises(ValueError, match="no topology 'v9:2x2': .*v5p: 2x2x1, 2x2x4, 4x4x4"):
    chips.of("v9:2x2")
  with pytest.raises(ValueError, match="no topology 'v5e:3x5'"):
    chips.of("v5e:3x5")
  with pytest.raises(ValueError, match="'tiny' has no released model .* qwen2.5-1.5b"):
    shapes.of("", "tiny")


def test_gpus_are_those_of_a_host_or_of_several():
  assert chips.hosts("h100:8") == (1, 8) and chips.hosts("a100:2x8") == (2, 8)
  assert chips.count("h100:2x8") == 16 and chips.count("v5p:4x4x8") == 128
  assert chips.of("h200:1").memory > chips.of("h100:1").memory > 72
  for name in ("h100:9", "h100:0", "h100:2x", "h100"):
    with pytest.raises(ValueError, match="write the GPUs of one host, h100:1 to h100:8, or hosts"):
      chips.of(name)
  with pytest.raises(ValueError, match="--slices is for TPUs: .* --topology=h100:4x8"):
    topology.devices("h100:2x8", slices=2)


def test_a_mesh_takes_all_chips_of_the_topology():
  assert topology.mesh(jax.devices(), data=0, fsdp=2, tensor=2).shape["data"] == 2
  with pytest.raises(ValueError, match="data 1, fsdp 2, tensor 2, which takes 4 of 8 chips: "):
    topology.mesh(jax.devices(), data=1, fsdp=2, tensor=2)


class Failing:
  """A traced program that XLA fails to compile."""

  def lower(self, lowering_platforms):
    return self

  def compile(self, compiler_options):
    raise jax.errors.JaxRuntimeError("INTERNAL: RET_CHECK failure (file.cc:3)\n*** Begin stack")


def test_a_compiler_error_is_reported_in_one_line():
  program = programs.Program("turn", Failing(), 1, 1.0)
  mesh = jax.make_mesh((8,), ("data",), (jax.sharding.AxisType.Auto,))
  with pytest.raises(RuntimeError) as error:
    compiling.measure(program, mesh, chips.of("v5e:2x4"))
  assert command_line.is_for_the_user(error.value)
  assert str(error.value) == (
    "The turn does not compile; XLA says: INTERNAL: RET_CHECK failure (file.cc:3)"
  )


@pytest.mark.parametrize("preset", [*slices.MODELS, "paper-grpo-empg-1.5b"])
def test_a_released_preset_compiles_eight_programs_and_the_handover(preset):
  made = configs.load(str(ROOT / "configs" / f"alfworld.py:{preset}"))
  for here in (hardware.GPU, hardware.TPU):
    counts = programs.count(made, here)
    assert counts == dict(train=2, read=4, write=2, reshard=1)
  assert programs.count(made, hardware.CPU) == dict(train=2, read=2, write=1)


def test_a_plan_sums_up_what_a_run_compiles():
  made = lambda name, seconds: compiling.Report(name, seconds, *[0] * 8, 0, {}, [], {"x": 1})
  reports = dict(train=made("train step", 60), read=made("read", 20))
  assert report.compiling(dict(train=2, read=4, write=2), reports) == (
    "a run compiles at most 6 programs (2 x train step, 4 x read): 3:20 at the pace here"
  )


def config(**train):
  return ml_collections.ConfigDict(
    dict(
      rollout=dict(tasks=4, group_size=8),
      train=dict(size=32, minibatches=1, remat=False) | train,
    )
  )


def limited(most):
  """A compiler for which at most this many rows fit, and without remat a quarter of them."""

  def compiles(config):
    microbatch.check(32, config.train.size, config.train.minibatches)
    if config.train.size > (most if config.train.remat else most // 4):
      raise TooLarge(2.0, 1.0)

  return compiles


@pytest.mark.parametrize(
  "most, sentence",
  [
    (32, "it fits with config.train.remat=True"),
    (8, "it fits with config.train.size=8 and remat=True"),
    (1, "no smaller one fits either: take more chips, or a longer fsdp or tensor axis"),
  ],
)
def test_the_cheapest_change_that_fits(most, sentence):
  assert fitting.advice(fitting.of_update(config(), least=4), limited(most)) == sentence


def test_the_largest_microbatch_that_fits():
  assert fitting.largest(config(remat=True), limited(16), least=4) == 16
  assert fitting.largest(config(remat=True), limited(2), least=4) == 0
  assert fitting.largest(config(remat=True, minibatches=4), limited(32), least=4) == 32
