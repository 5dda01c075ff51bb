"""The README's example of calling the loss runs unchanged."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import readmes

B, T, V, D = 4, 12, 16, 8


def example():
  return next(block for block in readmes.blocks("README.md", "python") if "empg_loss" in block)


def test_it_is_short():
  lines = [line for line in example().splitlines() if line.strip()]
  assert len(lines) <= 16


def test_it_trains():
  """A table of logits as model; the group's better episodes become likelier."""
  model = types.SimpleNamespace(apply=lambda params, tokens: params["table"][tokens])
  rng = np.random.default_rng(0)
  params = {"table": jnp.asarray(rng.normal(size=(V, V)), jnp.float32)}
  optimizer = optax.sgd(1.0)
  ids = rng.integers(0, V, (B, T + 1))
  steps = np.tile([0, 0, 1, 1, 1, 0, 2, 2, 0, 3, 3, 0], (B, 1))
  batch = {
    "tokens": ids[:, :-1],
    "actions": ids[:, 1:],
    "returns": np.array([1, 0, 1, 0], np.float32),
    "group_ids": np.array([0, 0, 1, 1]),
    "steps": steps,
  }
  names = {"model": model, "optimizer": optimizer}
  exec(compile(example(), "README.md", "exec"), names)

  def won(params):
    log_p = jax.nn.log_softmax(model.apply(params, batch["tokens"]))
    chosen = np.take_along_axis(np.asarray(log_p), batch["actions"][..., None], -1)
    return chosen[..., 0][(batch["returns"] == 1)[:, None] & (steps > 0)].mean()

  train_step = jax.jit(names["train_step"])
  before, opt_state = won(params), optimizer.init(params)
  for _ in range(5):
    params, opt_state, loss, metrics = train_step(params, opt_state, batch)
  assert np.isfinite(loss) and metrics["empg/steps"] == 3 * B
  assert won(params) > before + 0.1
