"""Sampling on several devices is sampling on one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_decode import CONFIG, KEY, converse, make_model, make_policy

from empg_jax.distributed import sharding
from empg_jax.generation import layout
from empg_jax.kernels import hardware


@pytest.fixture(scope="module")
def model():
  return make_model()


def test_each_device_has_a_set_of_slots_and_all_sample_the_same(model):
  two = make_policy(model, devices=jax.local_devices()[:2])
  assert two.sets == 2
  first, second = (two.start(number, KEY) for number in (0, 1))
  replies = []
  for slots in (first, second):
    slots.read(0, [5, 6, 7], 4, 0)
    ended = []
    while slots.run():
      ended += slots.ended()
    replies.append([x.tolist() for x in ended[0][1:]])
  assert replies[0] == replies[1]


def test_scanned_layers_on_a_mesh_sample_as_one_device_does(model, monkeypatch):
  want = converse(make_policy(model, slots=8), 3, (0, 1, 2))
  mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
  monkeypatch.setattr(hardware, "current", lambda: hardware.TPU)
  placed = sharding.place(model, mesh)
  policy = make_policy(placed, mesh=mesh, slots=8)
  got = converse(policy, 3, (0, 1, 2))
  assert got[0] == want[0]
  for one, other in zip(got[1], want[1]):
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_layers_apart_on_a_mesh_sample_as_one_device_does(model, monkeypatch):
  """As on GPUs: each layer's parameters and cache are arrays of their own."""
  want = converse(make_policy(model, slots=8), 3, (0, 1, 2))
  mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
  layout_of_gpus = hardware.GPU._replace(attention="blocks")
  monkeypatch.setattr(hardware, "current", lambda: layout_of_gpus)
  monkeypatch.setattr(hardware, "of", lambda name: layout_of_gpus)
  got = converse(make_policy(sharding.place(model, mesh), mesh=mesh, slots=8), 3, (0, 1, 2))
  assert got[0] == want[0]
  for one, other in zip(got[1], want[1]):
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_decoding_divides_parameters_by_tensor_alone_and_the_cache_by_slots_and_heads(model):
  mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
  placed = sharding.place(model, mesh)
  program = layout.for_decoding(mesh, placed, jnp.dtype("bfloat16"))
  weight = program(placed).model.layers.mlp.up_proj.weight[...]
  assert weight.dtype == jnp.bfloat16
  assert weight.sharding.shard_shape(weight.shape) == (2, 24, 32)
  cache = jnp.zeros((CONFIG.num_hidden_layers, 4, CONFIG.num_key_value_heads, 5, 8))
  places = layout.cache_shardings((cache, cache), mesh)
  assert places[0].shard_shape(cache.shape) == (2, 1, 1, 5, 8)
  with pytest.raises(ValueError, match="policy.slots is 3, which does not divide over 4"):
    make_policy(placed, mesh=mesh)
