"""The mesh, and every parameter's sharding over it."""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
import optax
import pytest

from empg_jax.distributed import sharding
from empg_jax.models.decoder import Decoder, DecoderConfig
from empg_jax.training import state as states

CONFIG = DecoderConfig(24, 16, 32, 2, 4, 2, 8, tie_word_embeddings=False)


@pytest.fixture(scope="module")
def state():
  """The shapes of a training state."""
  model = lambda: Decoder(CONFIG, jax.random.key(0))
  return jax.eval_shape(lambda: states.create(model(), optax.adamw(1e-3)))


def test_parameters_are_sharded_by_their_names(state):
  model = sharding.shardings(state.model, sharding.make_mesh(fsdp=2, tensor=2))
  layers = model.model.layers
  assert layers.self_attn.q_proj.weight.get_value().spec == P(None, "tensor", "fsdp")
  assert layers.self_attn.q_proj.bias.get_value().spec == P(None, "tensor")
  assert layers.self_attn.o_proj.weight.get_value().spec == P(None, "fsdp", "tensor")
  assert layers.mlp.up_proj.weight.get_value().spec == P(None, "tensor", "fsdp")
  assert layers.mlp.down_proj.weight.get_value().spec == P(None, "fsdp", "tensor")
  assert layers.input_layernorm.weight.get_value().spec == P()
  assert model.model.embed_tokens.weight.get_value().spec == P("tensor", "fsdp")
  assert model.lm_head.weight.get_value().spec == P("tensor", "fsdp")


def test_moments_are_sharded_like_their_parameters(state):
  placed = sharding.shardings(state, sharding.make_mesh(data=2, fsdp=2, tensor=2))
  moments = placed.opt_state[0]
  for tree in (moments.mu, moments.nu):
    assert jax.tree.leaves(tree) == jax.tree.leaves(placed.model)
  assert moments.count.spec == placed.step.spec == P()


def test_no_matrix_is_whole_on_a_device(state):
  mesh = sharding.make_mesh(fsdp=4, tensor=2)
  shapes, places = map(jax.tree.leaves, (state, sharding.shardings(state, mesh)))
  for x, place in zip(shapes, places, strict=True):
    if x.size > 256:
      assert place.num_devices == 8 and not place.is_fully_replicated
      assert jnp.prod(jnp.array(place.shard_shape(x.shape))) * 8 == x.size


def test_a_dimension_that_its_axis_does_not_divide_is_not_sharded(state):
  places = sharding.shardings(state.model, sharding.make_mesh(fsdp=2, tensor=3))
  assert places.model.layers.mlp.up_proj.weight.get_value().spec == P(None, None, "fsdp")
  assert places.lm_head.weight.get_value().spec == P("tensor", "fsdp")


def test_a_weight_without_a_sharding_is_refused():
  mesh = sharding.make_mesh()
  with pytest.raises(ValueError, match=r"router.weight \[4, 16\] has no sharding: add 'router'"):
    sharding.shardings({"mlp": {"router": {"weight": jnp.zeros((4, 16))}}}, mesh)


def test_placed_arrays_keep_their_values(state):
  model = Decoder(CONFIG, jax.random.key(0))
  mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
  placed = sharding.place(model, mesh)
  for a, b in zip(jax.tree.leaves(model), jax.tree.leaves(placed), strict=True):
    assert (a == b).all()
  wanted = sharding.shardings(model, mesh)
  assert [x.sharding for x in jax.tree.leaves(placed)] == jax.tree.leaves(wanted)


def test_one_axis_takes_what_the_others_leave():
  assert dict(sharding.make_mesh(data=0, tensor=2).shape) == dict(data=4, fsdp=1, tensor=2)
  assert sharding.make_mesh().size == 1


@pytest.mark.parametrize(
  "axes, sentence",
  [
    (dict(data=99), "data 99, fsdp 1, tensor 1, but JAX finds 8 devices"),
    (dict(data=2, fsdp=4, tensor=2), "but JAX finds 8 devices"),
    (dict(data=0, tensor=3), "but JAX finds 8 devices"),
    (dict(data=0, fsdp=0), "of which one may be 0"),
    (dict(data=-1), "of which one may be 0"),
  ],
)
def test_a_mesh_that_does_not_fit_the_devices_is_refused(axes, sentence):
  with pytest.raises(ValueError, match=sentence):
    sharding.make_mesh(**axes)


def test_rows_divide_over_data_and_fsdp():
  sharding.check_rows("train.size", 8, data=2, fsdp=2, tensor=2)
  with pytest.raises(
    ValueError, match="config.train.size is 6, which does not divide over 4 devices"
  ):
    sharding.check_rows("train.size", 6, data=2, fsdp=2, tensor=2)
  rows = sharding.to_mesh(jnp.zeros((8, 3)), sharding.make_mesh(data=2, fsdp=2, tensor=2))
  assert rows.sharding.shard_shape(rows.shape) == (2, 3)
