"""Lookup in a sharded table, and its gradient, equal those of the whole table."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from empg_jax.distributed import sharding
from empg_jax.models import embedding


def looked_up(table, tokens, weights):
  loss = lambda table: jnp.sum(weights * embedding.lookup(table, tokens))
  return jax.jit(embedding.lookup)(table, tokens), jax.jit(jax.grad(loss))(table)


@pytest.mark.parametrize("axes", [(2, 2, 2), (1, 4, 2), (1, 8, 1), (8, 1, 1), (1, 1, 8), (1, 1, 3)])
def test_on_a_mesh_as_on_one_device(axes):
  rng = np.random.default_rng(0)
  table = jnp.asarray(rng.normal(size=(24, 16)), jnp.float32)
  tokens = rng.integers(0, 24, (8, 16), dtype=np.int32)
  tokens = jnp.asarray(tokens).at[0].set(5)  # a frequent token
  weights = jnp.asarray(rng.normal(size=(8, 16, 16)), jnp.float32)
  want = looked_up(table, tokens, weights)
  mesh = sharding.make_mesh(**dict(zip(sharding.AXES, axes)))
  place = jax.NamedSharding(mesh, jax.P("tensor", "fsdp"))
  with jax.set_mesh(mesh):
    got = looked_up(jax.device_put(table, place) if 24 % axes[2] == 0 else table, tokens, weights)
  for x, y in zip(got, want):
    np.testing.assert_allclose(x, y, atol=1e-5)


@pytest.mark.usefixtures("optimized")
def test_no_device_holds_the_table_or_its_gradient():
  mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
  place = jax.NamedSharding(mesh, jax.P("tensor", "fsdp"))
  table = jax.ShapeDtypeStruct((4096, 32), jnp.float32, sharding=place)
  tokens = jax.ShapeDtypeStruct((4, 4), jnp.int32)
  loss = lambda table, tokens: jnp.sum(embedding.lookup(table, tokens) ** 2)
  with jax.set_mesh(mesh):
    compiled = jax.jit(jax.grad(loss), out_shardings=place).lower(table, tokens).compile()
  assert compiled.memory_analysis().temp_size_in_bytes < 3 * 4 * 4096 * 32 / 4
