"""empg_loss as the policy loss of another trainer: Tunix (`pip install google-tunix==0.1.7`)."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from empg_jax import empg_loss

registry = pytest.importorskip("tunix.rl.function_registry")
common = pytest.importorskip("tunix.rl.common")

B, P, C, V = 4, 3, 10, 16


# A user's code to train with it: then GRPOConfig(policy_loss_fn="empg").
@registry.register_policy_loss_fn("empg")
def empg_policy_loss(model, train_example, algo_config, pad_id, eos_id, **_):
  """A Tunix batch needs no step numbers: an environment's tokens, for which the
  completion mask is 0, separate an agent's turns, so each run of 1 is a step."""
  logits = common.compute_per_token_logps(
    *nnx.split(model),
    prompt_tokens=train_example.prompt_ids,
    completion_tokens=train_example.completion_ids,
    pad_id=pad_id,
    eos_id=eos_id,
    stop_gradient=False,
    return_logits=True,
  )[1]
  loss, metrics = empg_loss(
    logits,
    train_example.completion_ids,
    train_example.advantages,
    train_example.completion_mask > 0,
    behavior_logprobs=train_example.old_per_token_logps,
    reference_logprobs=train_example.ref_per_token_logps,
    kl_coef=algo_config.beta,
  )
  return loss, {"kl": metrics["loss/kl"], "pg_clipfrac": metrics["loss/clip_fraction"], **metrics}


class Table(nnx.Module):
  """A table of logits per token, with the interface of Tunix's models."""

  def __init__(self, key):
    self.logits = nnx.Param(jax.random.normal(key, (V, V)))

  def __call__(self, tokens, positions, cache, attention_mask):
    return self.logits[...][tokens], cache


class Config:
  beta = 0.01


def test_tunix_finds_it_and_gets_the_loss_and_a_gradient():
  rng = np.random.default_rng(0)
  ids = jnp.asarray(rng.integers(1, V, (B, P + C)))
  mask = jnp.tile(jnp.array([1, 1, 0, 1, 1, 1, 0, 0, 1, 0]), (B, 1))
  example = common.TrainExample(
    prompt_ids=ids[:, :P],
    prompt_mask=jnp.ones((B, P), bool),
    completion_ids=ids[:, P:],
    completion_mask=mask,
    advantages=jnp.array([1.0, -1.0, 0.5, -0.5]),
    ref_per_token_logps=jnp.full((B, C), -2.0),
    old_per_token_logps=None,
  )
  model = Table(jax.random.key(0))
  loss_fn = registry.get_policy_loss_fn("empg")

  def loss(model):
    return loss_fn(model, example, Config, pad_id=0, eos_id=V - 1)

  (got, metrics), gradient = nnx.value_and_grad(loss, has_aux=True)(model)
  steps = np.tile([1, 1, 0, 2, 2, 2, 0, 0, 3, 0], (B, 1))
  want, _ = empg_loss(
    model.logits[...][ids[:, P - 1 : -1]], ids[:, P:], example.advantages, steps,
    reference_logprobs=example.ref_per_token_logps, kl_coef=Config.beta,
  )  # fmt: skip
  np.testing.assert_allclose(got, want, rtol=1e-5)
  assert metrics["empg/steps"] == 3 * B and metrics["kl"] > 0
  assert jnp.any(gradient.logits[...] != 0)
