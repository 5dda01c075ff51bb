"""One value and one gradient: without a mesh, and on meshes of every kind."""

import functools

import cases
import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec as P
import numpy as np
import pytest

from empg_jax import empg_loss, fused_token_stats, group_advantages, token_stats

B, T, D, V = 8, 20, 8, 16
SPECS = {
  "rows": P("data"),
  "vocabulary": P(None, None, ("data", "model")),
  "rows and time": P("data", "model"),
  "rows and vocabulary": P("data", None, "model"),
  "time and vocabulary": P(None, "data", "model"),
}
KINDS = {"Auto": AxisType.Auto, "Explicit": AxisType.Explicit}


@pytest.fixture(params=KINDS)
def mesh(request):
  return jax.make_mesh((4, 2), ("data", "model"), axis_types=(KINDS[request.param],) * 2)


def put(mesh, x, *spec):
  return None if x is None else jax.device_put(x, jax.NamedSharding(mesh, P(*spec)))


def check(got, want):
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
    np.testing.assert_allclose(a, b, atol=2e-5)


def check_shardings(gradients, operands):
  for gradient, operand in zip(gradients, operands, strict=True):
    if jax.typeof(operand).sharding.mesh.axis_types[0] == AxisType.Explicit:
      assert gradient.sharding.is_equivalent_to(operand.sharding, gradient.ndim)


@functools.cache
def drawn(kind):
  """logits, actions, returns, step_mask, episode_ids."""
  rng = np.random.default_rng(0)
  case = cases.case(kind, 0)
  filler = B - cases.B
  episode_ids = case.episode_ids
  return (
    rng.normal(size=(B, T, V)).astype(np.float32),
    rng.integers(0, V, (B, T)).astype(np.int32),
    rng.normal(size=B).astype(np.float32),
    np.pad(case.step_mask, ((0, filler), (0, 0))),
    None if episode_ids is None else np.pad(episode_ids, (0, filler)),
  )


def loss(*args):
  return empg_loss(*args[:4], episode_ids=args[4])[0]


@functools.cache
def loss_without_a_mesh(kind):
  return jax.jit(jax.value_and_grad(loss))(*drawn(kind))


@pytest.mark.parametrize(
  "sharded, kind",
  [(spec, "bool mask") for spec in SPECS]
  + [("rows and vocabulary", "one row a turn"), ("rows and time", "one row a turn")],
)
def test_empg_loss(mesh, sharded, kind):
  want = loss_without_a_mesh(kind)
  spec = SPECS[sharded]
  logits, *rest = drawn(kind)
  logits = put(mesh, logits, *spec)
  with jax.set_mesh(mesh):
    got = jax.jit(jax.value_and_grad(loss))(logits, *(put(mesh, x, *spec[:1]) for x in rest))
  check(got, want)
  check_shardings([got[1]], [logits])


@pytest.mark.slow
def test_empg_loss_outside_jit(mesh):
  want = loss_without_a_mesh("packed")
  args = [put(mesh, x, "data") for x in drawn("packed")]
  with jax.set_mesh(mesh):
    check(jax.value_and_grad(loss)(*args), want)


def test_operands_may_be_replicated_numpy(mesh):
  """Arrays without a sharding, under a mesh in context."""
  want = loss_without_a_mesh("packed")
  with jax.set_mesh(mesh):
    check(jax.jit(jax.value_and_grad(loss))(*drawn("packed")), want)


LAYOUTS = {  # of hidden states and of the unembedding
  "rows": (P("data"), P()),
  "rows and vocabulary": (P("data"), P(None, "model")),
  "fully sharded": (P("data", "model"), P("data", "model")),
  "width and vocabulary": (P("data", None, "model"), P("data", "model")),
  "time": (P(None, "data"), P("model", "data")),
}


@pytest.mark.parametrize("block_size", [None, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_fused_token_stats(mesh, layout, block_size):
  rng = np.random.default_rng(0)
  hidden = rng.normal(size=(B, T, D)).astype(np.float32)
  unembedding = rng.normal(size=(D, V)).astype(np.float32)
  actions = rng.integers(0, V, (B, T)).astype(np.int32)
  want = with_gradients(unfused, hidden, unembedding, actions)
  specs = LAYOUTS[layout]
  operands = put(mesh, hidden, *specs[0]), put(mesh, unembedding, *specs[1])
  fused = functools.partial(fused_token_stats, block_size=block_size)
  with jax.set_mesh(mesh):
    got = with_gradients(fused, *operands, put(mesh, actions, *specs[0][:2]))
  check(got, want)
  check_shardings(got[1], operands)


def with_gradients(stats, hidden, unembedding, actions):
  def total(hidden, unembedding):
    logprobs, entropy = stats(hidden, unembedding, actions)
    return jnp.sum(jnp.sin(logprobs)) + jnp.sum(jnp.cos(entropy)), (logprobs, entropy)

  f = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)
  return jax.jit(f)(hidden, unembedding)


def unfused(hidden, unembedding, actions):
  return token_stats(hidden @ unembedding, actions)


@pytest.mark.parametrize("block_size", [None, 3])
@pytest.mark.parametrize("manual", [("data", "model"), ("data",)])
def test_fused_token_stats_inside_shard_map(mesh, manual, block_size):
  """With the default check_vma; "model" may be an Auto axis."""
  rng = np.random.default_rng(0)
  hidden = rng.normal(size=(B, T, D)).astype(np.float32)
  unembedding = rng.normal(size=(D, V)).astype(np.float32)
  actions = rng.integers(0, V, (B, T)).astype(np.int32)
  want = with_gradients(unfused, hidden, unembedding, actions)
  fused = functools.partial(fused_token_stats, block_size=block_size)

  def on_shard(hidden, unembedding, actions):
    (loss, stats), gradients = with_gradients(fused, hidden, unembedding, actions)
    return (jax.lax.psum(loss, "data"), stats), gradients

  rows = P("data")
  mapped = jax.shard_map(
    on_shard, mesh=mesh, in_specs=(rows, P(), rows), axis_names=set(manual),
    out_specs=((P(), (rows, rows)), (rows, P())),
  )  # fmt: skip
  vocabulary = () if "model" in manual else (None, "model")
  operands = put(mesh, hidden, "data"), put(mesh, unembedding, *vocabulary)
  with jax.set_mesh(mesh):
    got = jax.jit(mapped)(*operands, put(mesh, actions, "data"))
  check(got, want)


def test_group_advantages(mesh):
  rng = np.random.default_rng(0)
  returns, groups = rng.normal(size=B).astype(np.float32), rng.integers(0, 3, B)
  want = group_advantages(returns, groups)
  returns, groups = put(mesh, returns, "data"), put(mesh, groups, "data")
  with jax.set_mesh(mesh):
    got = group_advantages(returns, groups)
  check(got, want)
  check_shardings([got], [returns])
