"""The loss equals a plain loop over the tokens, on every kind of batch."""

import functools

import cases
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from empg_jax import empg_loss, modulate_advantages

SEEDS = range(20)
value_and_grad = jax.jit(jax.value_and_grad(empg_loss, has_aux=True), static_argnames="aggregation")


def check(case, kind, **options):
  loss, gradient = oracle.empg_loss(*case[:4], episode_ids=case.episode_ids, **options)
  (got, metrics), got_gradient = value_and_grad(*case[:4], episode_ids=case.episode_ids, **options)
  loose = {"bfloat16": 1e-2, "extreme logits": 5e-3}.get(kind, 3e-5)
  np.testing.assert_allclose(got, loss, rtol=loose, atol=loose)
  np.testing.assert_allclose(np.asarray(got_gradient, np.float32), gradient, rtol=loose, atol=loose)
  assert metrics["loss/total"] == got
  for name, value in metrics.items():
    assert value.shape == () and value.dtype == jnp.float32, name
    assert np.isfinite(value), name


@pytest.mark.parametrize("kind", cases.KINDS)
def test_advantages_equal_the_loop(kind):
  for seed in SEEDS:
    case, rng = cases.case(kind, seed), np.random.default_rng(seed)
    entropy = rng.random((cases.B, cases.T)).astype(np.float32)
    if kind == "equal entropies":
      entropy = np.full_like(entropy, 0.1 + seed)
    k, k_future, zeta = rng.random(3).astype(np.float32) * (3, 3, 0.2)
    got = modulate_advantages(
      case.returns, entropy, case.step_mask,
      k=k, k_future=k_future, zeta=zeta, episode_ids=case.episode_ids,
    )  # fmt: skip
    want, _, _ = oracle.modulate(
      case.returns, entropy, case.step_mask, k, k_future, zeta, case.episode_ids
    )
    np.testing.assert_allclose(got, want, atol=3e-6)


@pytest.mark.parametrize("kind", cases.KINDS)
def test_loss_and_gradient_equal_the_loop_on_policy(kind):
  for seed in SEEDS:
    check(cases.case(kind, seed), kind)


@pytest.mark.parametrize("kind", cases.KINDS)
def test_loss_and_gradient_equal_the_loop_off_policy(kind):
  check_off_policy(kind, "token_mean")


@pytest.mark.parametrize("kind", ["packed", "filler rows", "no step", "turns of many rows"])
def test_sequence_mean_equals_the_loop(kind):
  check_off_policy(kind, "sequence_mean")


@pytest.mark.parametrize("kind", ["bool mask", "turns of many rows"])
def test_step_mean_equals_the_loop(kind):
  check_off_policy(kind, "step_mean")


def check_off_policy(kind, aggregation):
  for seed in SEEDS:
    case, rng = cases.case(kind, seed), np.random.default_rng(seed)
    shape = case.actions.shape
    logprobs, _, _ = oracle.token_stats(case.logits, case.actions)
    noise = functools.partial(rng.normal, scale=0.3, size=shape)
    check(
      case,
      kind,
      k=0.5 + seed / 10,
      k_future=1.5,
      zeta=0.1,
      token_entropy=rng.random(shape).astype(np.float32),
      behavior_logprobs=(logprobs + noise()).astype(np.float32),
      reference_logprobs=(logprobs + noise()).astype(np.float32),
      kl_coef=0.1,
      entropy_coef=0.01,
      clip_low=0.2,
      clip_high=0.28,
      aggregation=aggregation,
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_outside_the_mask_are_ignored(bad):
  case, rng = cases.case("filler rows", 0), np.random.default_rng(0)
  shape, read = case.actions.shape, case.step_mask > 0
  logprobs = -rng.random((3, *shape)).astype(np.float32)
  names = ("token_entropy", "behavior_logprobs", "reference_logprobs")

  def outputs(spoil):
    arguments = {name: spoil(x) for name, x in zip(names, logprobs)}
    returns = np.where(read.any(axis=1), case.returns, spoil(case.logits)[:, -1, 0])
    return value_and_grad(
      spoil(case.logits), case.actions, np.float32(returns), case.step_mask,
      kl_coef=0.1, entropy_coef=0.1, **arguments,
    )  # fmt: skip

  want = outputs(lambda x: np.where(read.reshape(read.shape + (1,) * (x.ndim - 2)), x, 0))
  got = outputs(lambda x: np.where(read.reshape(read.shape + (1,) * (x.ndim - 2)), x, bad))
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
    np.testing.assert_array_equal(a, np.nan_to_num(b))


def test_returns_may_be_given_per_token():
  case = cases.case("packed", 0)
  per_token = np.repeat(case.returns[:, None], cases.T, axis=1)
  want = empg_loss(*case[:4])[0]
  got = empg_loss(*case[:2], per_token, case.step_mask)[0]
  np.testing.assert_allclose(got, want, rtol=1e-5)  # another program, which may round differently


def test_changing_the_coefficients_does_not_recompile():
  case = cases.case("packed", 1)
  empg_loss(*case[:4], k=0.5, zeta=0.5, kl_coef=0.5, clip_low=0.5)
  compiled = empg_loss._cache_size()
  for number in (0.0, 0.1, 2.0):
    empg_loss(*case[:4], k=number, zeta=number, kl_coef=number, clip_low=number)
  assert empg_loss._cache_size() == compiled


def test_works_without_jit():
  case = cases.case("one row a turn", 2)
  want, _ = empg_loss(*case[:4], episode_ids=case.episode_ids)
  with jax.disable_jit():
    case = case._replace(**{k: jnp.asarray(v) for k, v in case._asdict().items()})
    got, _ = empg_loss(*case[:4], episode_ids=case.episode_ids)
  np.testing.assert_allclose(got, want, rtol=1e-5)


def test_metrics_describe_the_batch():
  case = cases.case("packed", 3)
  _, metrics = empg_loss(*case[:4])
  steps = oracle.steps_of(case.step_mask, None)
  _, entropy, _ = oracle.token_stats(case.logits, case.actions)
  by_step = [np.mean([entropy[at] for at in places]) for places in steps.values()]
  _, g, final = oracle.modulate(case.returns, entropy, case.step_mask, 1, 1, 0.05)
  for name, values in {
    "empg/entropy": by_step, "empg/g": list(g.values()), "empg/advantage": list(final.values())
  }.items():  # fmt: skip
    for statistic in ("min", "max", "mean", "std"):
      want = getattr(np, statistic)(values)
      np.testing.assert_allclose(metrics[f"{name}_{statistic}"], want, atol=2e-5)
  assert metrics["empg/steps"] == len(steps)
  assert metrics["empg/tokens"] == np.sum(case.step_mask > 0)
  assert metrics["loss/clip_fraction"] == 0
  assert metrics["loss/kl"] == 0
