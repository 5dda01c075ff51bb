"""Properties that every algorithm of the folder has."""

import dataclasses
import functools
import pkgutil

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec as P
import numpy as np
import pytest
import reference

from empg_jax import algorithms
from empg_jax.algorithms import dapo
from empg_jax.distributed import sharding
from empg_jax.types import TokenStats

NAMES = [m.name for m in pkgutil.iter_modules(algorithms.__path__) if not m.name.startswith("_")]
ROWS = reference.ROWS
GRPO = {"base": {"name": "grpo"}}
DUE = {"empg": GRPO, "aem": GRPO, "dr_grpo": {"length": 7.0}}  # arguments without default
PLAIN = [name for name in NAMES if name not in ("empg", "aem")]
DISCOUNTED = ["grpo", "dapo", "rloo", "reinforce_pp", "gspo", "cispo"]
OVERLONG = dict(soft_length=4, max_length=6)
MADE = {name: algorithms.make(name, **DUE.get(name, {})) for name in NAMES}
VARIANTS = {
  **{f"empg {n}": algorithms.make("empg", base={"name": n, **DUE.get(n, {})}) for n in PLAIN},
  **{f"{name} 0.9": algorithms.make(name, gamma=0.9) for name in DISCOUNTED},
  "empg off": algorithms.make("empg", k=0.0, zeta=0.0, **GRPO),
  "scaling only": algorithms.make("empg", zeta=0.0, **GRPO),
  "overlong": algorithms.make("dapo", **OVERLONG),
  "overlong 0.9": algorithms.make("dapo", gamma=0.9, **OVERLONG),
}


@functools.partial(jax.jit, static_argnames="names")
def every(batch, names):
  """{name: (loss, signal, metrics)}, in one program, because algorithms share most of it."""
  stats = TokenStats(logprobs(batch), batch.behavior_entropy)

  def one(algorithm):
    signal, metrics = algorithm.advantages(batch, batch.behavior_entropy)
    loss, sums = algorithm.loss(stats, signal, batch, None)
    return loss, signal, {**metrics, **sums}

  return {name: one((MADE | VARIANTS)[name]) for name in names}


def value(batch, name):
  return every(batch, tuple(MADE) if name in MADE else tuple(VARIANTS))[name]


@pytest.fixture(scope="module")
def batch():
  return reference.drawn()


def logprobs(batch):
  """Of a policy that has moved away from the behaviour policy."""
  return batch.behavior_logprobs + 0.4 * jnp.sin(50 * batch.behavior_entropy)


def filled(batch, order):
  """The rows in another order, with filler rows and padding."""
  grow = lambda x: jnp.pad(x[order], ((0, 24 - len(order)), (0, 3))[: x.ndim])
  batch = jax.tree.map(grow, batch)
  fillers = jnp.arange(24) >= len(order)
  return dataclasses.replace(
    batch,
    episode_ids=jnp.where(fillers, 90 + jnp.arange(24), batch.episode_ids),
    group_ids=jnp.where(fillers, 99, batch.group_ids),
  )


def by_step(batch, advantages):
  """{(episode, step): advantage}; all tokens of a step must agree."""
  result = {}
  for key, places in reference.steps_of(batch).items():
    values = {float(advantages[place]) for place in places}
    assert len(values) == 1
    result[key] = values.pop()
  return result


def assert_same_steps(got, want, atol=2e-5):
  assert got.keys() == want.keys()
  for key in want:
    np.testing.assert_allclose(got[key], want[key], atol=atol, err_msg=str(key))


@pytest.mark.parametrize("name", NAMES)
def test_it_equals_plain_loops_over_its_equation(name, batch):
  loss, signal, metrics = value(batch, name)
  assert_same_steps(by_step(batch, signal.advantages), reference.ADVANTAGES[name](batch))
  want = reference.loss(name, logprobs(batch), batch, signal.advantages, length=7.0)
  np.testing.assert_allclose(loss, want, rtol=1e-4)
  assert all(x.dtype == jnp.float32 and x.shape == () for x in metrics.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_eight_devices_equal_one(name, batch):
  mesh = sharding.make_mesh(data=4, fsdp=2)
  with jax.set_mesh(mesh):
    loss, signal, _ = value(sharding.to_mesh(batch, mesh), name)
  want = value(batch, name)
  np.testing.assert_allclose(loss, want[0], rtol=1e-4)
  np.testing.assert_allclose(signal.advantages, want[1].advantages, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_rows_filler_rows_and_padding_change_nothing(name, batch):
  order = np.random.default_rng(1).permutation(ROWS)
  want, got = value(batch, name), value(filled(batch, order), name)
  np.testing.assert_allclose(got[0], want[0], rtol=1e-4)
  np.testing.assert_allclose(got[1].advantages[:ROWS, :-3], want[1].advantages[order], atol=1e-6)
  np.testing.assert_array_equal(got[1].advantages[ROWS:], 0)
  np.testing.assert_array_equal(got[1].votes[ROWS:], 0)
  for metric, x in want[2].items():
    np.testing.assert_allclose(got[2][metric], x, rtol=1e-4, atol=1e-6, err_msg=metric)


@pytest.mark.parametrize("name", NAMES)
def test_both_row_layouts_give_a_step_the_same_advantage_and_a_batch_the_same_loss(name, batch):
  turns = reference.one_row_a_turn(batch)
  turns = filled(turns, np.random.default_rng(2).permutation(len(turns.steps)))
  got, want = (value(x, name) for x in (turns, batch))
  steps = by_step(turns, got[1].advantages), by_step(batch, want[1].advantages)
  assert_same_steps(*steps, atol=2e-6)
  np.testing.assert_allclose(got[0], want[0], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_tokens_of_the_environment_have_no_advantage(name, batch):
  _, signal, _ = value(batch, name)
  np.testing.assert_array_equal(signal.advantages[batch.steps == 0], 0)
  np.testing.assert_array_equal(signal.weights[batch.steps == 0], 0)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"empg"}))
def test_equal_returns_give_no_signal(name, batch):
  """Except for EMPG's bonus, see below. The values predict the return, 0."""
  nothing = jnp.zeros_like(batch.rewards)
  zero = dataclasses.replace(
    batch, returns=jnp.full(ROWS, 0.7, jnp.float32), rewards=nothing, values=nothing
  )
  _, signal, metrics = value(zero, name)
  np.testing.assert_array_equal(signal.advantages, 0)
  assert metrics["batch/no_signal"] == 1


def test_without_its_bonus_empg_gives_equal_returns_no_signal(batch):
  zero = dataclasses.replace(batch, returns=jnp.full(ROWS, 0.7, jnp.float32))
  _, signal, _ = value(zero, "scaling only")
  np.testing.assert_array_equal(signal.advantages, 0)


@pytest.mark.parametrize("name", PLAIN)
def test_empg_wraps_it(name, batch):
  base = by_step(batch, value(batch, name)[1].advantages)
  _, signal, metrics = value(batch, f"empg {name}")
  h = reference.normalised(reference.entropies(batch))
  mean = np.mean([np.exp(-x) for x in h.values()])
  bonus = {(e, s): 0.05 * np.exp(-h[e, s + 1]) if (e, s + 1) in h else 0.0 for e, s in h}
  want = {key: base[key] * np.exp(-h[key]) / mean + bonus[key] for key in h}
  centre = np.mean(list(want.values()))
  assert_same_steps(by_step(batch, signal.advantages), {key: x - centre for key, x in want.items()})
  np.testing.assert_allclose(metrics["empg/g_mean"], 1, rtol=1e-5)


def test_empg_switched_off_is_its_base_centred_over_steps(batch):
  base = by_step(batch, value(batch, "grpo")[1].advantages)
  _, signal, _ = value(batch, "empg off")
  centre = np.mean(list(base.values()))
  assert_same_steps(by_step(batch, signal.advantages), {key: x - centre for key, x in base.items()})


@pytest.mark.parametrize("name", DISCOUNTED)
def test_discounted_returns_are_compared_step_by_step(name, batch):
  _, signal, _ = value(batch, f"{name} 0.9")
  kind = "leave one out" if name == "rloo" else "std"
  groups = jnp.broadcast_to(batch.group_ids[:, None], batch.steps.shape)
  want = reference.of_steps(batch, 0.9, groups, kind)
  if name == "reinforce_pp":
    want = reference.reinforce_pp(batch, 0.9)
  assert_same_steps(by_step(batch, signal.advantages), want)


def test_steps_with_equal_rewards_to_come_have_exactly_equal_returns(batch):
  """Otherwise rounding, divided by its own deviation, would become an advantage."""
  last = batch.steps == jnp.max(batch.steps, axis=1, keepdims=True)
  rewards = jnp.where((batch.steps > 0) & last, jnp.float32(0.1), 0)
  same = dataclasses.replace(
      batch, rewards=rewards, returns=jnp.full(ROWS, 0.1, jnp.float32),
      anchors=jnp.where(batch.steps > 0, 1 + jnp.max(batch.steps, axis=1, keepdims=True)
                        - batch.steps, 0),
  )  # fmt: skip
  np.testing.assert_array_equal(value(same, "gigpo")[1].advantages, 0)


@pytest.mark.parametrize("name", ["ppo", "empg ppo"])
def test_value_targets_are_not_modulated(name, batch):
  _, signal, metrics = value(batch, name)
  estimated = reference.estimated(batch)
  want = {key: target for key, (_, target) in estimated.items()}
  assert_same_steps(by_step(batch, signal.targets), want)
  tokens = [estimated[key] for key, places in reference.steps_of(batch).items() for _ in places]
  v, targets = np.array(tokens).T
  explained = 1 - np.var(targets - v) / np.var(targets)
  np.testing.assert_allclose(metrics["value/explained_variance"], explained, atol=1e-5)


@pytest.mark.parametrize("gamma", ["", " 0.9"])
def test_dapo_penalises_long_episodes(batch, gamma):
  """Episodes have 4 to 6 tokens: the penalty is 0 for 4 and 1 for 6."""
  _, signal, metrics = value(batch, f"overlong{gamma}")
  tokens = (batch.steps > 0).sum(axis=1)
  penalty = np.clip((4 - np.asarray(tokens)) / 2, -1, 0).astype(np.float32)
  assert metrics["batch/overlong"] == np.mean(penalty < 0)
  name = f"overlong{gamma}"
  more = every(filled(batch, np.arange(ROWS)), (name,))[name][2]
  assert more["batch/overlong"] == metrics["batch/overlong"]
  last = (batch.steps == batch.steps.max(axis=1, keepdims=True)) & (batch.steps > 0)
  shaped = dataclasses.replace(
    batch,
    returns=batch.returns + penalty,
    rewards=batch.rewards + jnp.where(last, penalty[:, None], 0),
  )
  want = value(shaped, f"grpo{gamma}")[1].advantages
  np.testing.assert_allclose(signal.advantages, want, atol=1e-6)
  turns = reference.one_row_a_turn(batch)
  own = (turns.steps > 0).any(axis=1)
  by_rows = dapo.overlong_penalty(turns, 4, 6)
  np.testing.assert_allclose(by_rows[own], penalty[np.asarray(turns.episode_ids)][own])


@pytest.mark.slow
def test_an_explicit_mesh_changes_nothing(batch):
  """For algorithms that sum over a row's or an episode's steps outside core.advantages."""

  @jax.jit
  def losses(batch):
    stats = lambda move: TokenStats(logprobs(batch) + move, batch.behavior_entropy)

    def loss(move, algorithm):
      signal, _ = algorithm.advantages(batch, batch.behavior_entropy)
      total, _ = algorithm.loss(stats(move), signal, batch, None)
      if algorithm.value_loss:
        total += algorithm.value_loss(batch.values + move, signal, batch)[0]
      return total

    still = jnp.zeros_like(batch.values)
    made = MADE["gspo"], MADE["ppo"], VARIANTS["overlong"]
    return [jax.value_and_grad(loss)(still, algorithm) for algorithm in made]

  mesh = jax.make_mesh((8,), ("data",))
  with jax.set_mesh(mesh):
    rows = NamedSharding(mesh, P("data"))
    got = losses(jax.tree.map(lambda x: jax.device_put(x, rows), batch))
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(losses(batch)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_aem_reports_its_scale_and_the_scaled_advantages(batch):
  _, signal, metrics = value(batch, "aem")
  agent = np.asarray(signal.advantages)[np.asarray(batch.steps) > 0]
  h = list(reference.entropies(batch).values())
  for name, x in (("advantage", agent), ("entropy", h)):
    for kind in ("min", "max", "mean", "std"):
      np.testing.assert_allclose(metrics[f"aem/{name}_{kind}"], getattr(np, kind)(x), atol=1e-6)
  assert metrics["aem/g_min"] < 1 < metrics["aem/g_max"]


@pytest.mark.parametrize("name", ["grpo", "aem", "empg", "empg gigpo"])
def test_explain_returns_the_advantages_of_the_update(name, batch):
  signal = value(batch, name)[1]
  found = algorithms.explain((MADE | VARIANTS)[name], batch, batch.behavior_entropy)
  np.testing.assert_allclose(found["advantage"], signal.advantages, atol=1e-6)
  if name == "grpo":
    assert found.keys() == {"advantage"}
  elif name == "aem":
    np.testing.assert_allclose(found["base"] * found["g"], found["advantage"], atol=1e-6)
  else:
    assert found.keys() == {"entropy", "normal_entropy", "g", "bonus", "base", "advantage"}


def test_explain_is_empty_where_values_are_missing(batch):
  without = dataclasses.replace(batch, values=None)
  assert algorithms.explain(MADE["ppo"], without, batch.behavior_entropy) == {}
  assert "advantage" in algorithms.explain(MADE["ppo"], batch, batch.behavior_entropy)
