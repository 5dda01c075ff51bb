"""Updates on several devices, and of adapters only."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from updates import CONFIG, EMPG, OPTIMIZER, ROWS, VOCAB, assert_same, update

from empg_jax import algorithms
from empg_jax.distributed import sharding
from empg_jax.kernels import hardware
from empg_jax.kernels.attention import cudnn
from empg_jax.models import lora
from empg_jax.models.decoder import Decoder, DecoderConfig
from empg_jax.training import state as states
from empg_jax.training.step import train_step


@pytest.mark.parametrize(
  "axes",
  [dict(data=8), dict(data=2, fsdp=2, tensor=2), dict(fsdp=4), dict(fsdp=2, tensor=4)],
  ids=str,
)
def test_eight_devices_equal_one(state, batch, axes):
  mesh = sharding.make_mesh(**axes)
  want = update(state, batch, size=4)
  state = sharding.place(jax.tree.map(jnp.copy, state), mesh)
  with jax.set_mesh(mesh):
    got = train_step(
      state, sharding.to_mesh(batch, mesh), algorithm=EMPG, optimizer=OPTIMIZER,
      size=4 if mesh.shape["data"] < 8 else 8,
    )  # fmt: skip
  assert_same(got, want)
  for x, place in zip(*map(jax.tree.leaves, (got[0], sharding.shardings(got[0], mesh)))):
    assert x.sharding.is_equivalent_to(place, x.ndim)


def test_eight_gpus_equal_one_device(batch, monkeypatch):
  """The GPU's layout, with cuDNN's attention as XLA computes it."""
  model = Decoder(DecoderConfig(VOCAB, 16, 24, 2, 4, 2, 4), jax.random.key(0))
  state = states.create(model, OPTIMIZER)
  want = update(state, batch)
  monkeypatch.setattr(hardware, "current", lambda: hardware.GPU)
  monkeypatch.setattr(hardware.Platform, "attention_of", lambda *_: "cudnn")
  called, causal = [], functools.partial(cudnn.causal, implementation="xla")
  monkeypatch.setattr(cudnn, "causal", lambda *args: called.append(args) or causal(*args))
  mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
  state = sharding.place(state, mesh)
  with jax.set_mesh(mesh):
    got = train_step(
      state, sharding.to_mesh(batch, mesh), algorithm=EMPG, optimizer=OPTIMIZER, size=ROWS,
      remat=True,
    )  # fmt: skip
  assert called
  assert_same(got, want)


def test_training_adapters_changes_only_them(batch):
  base = Decoder(CONFIG, jax.random.key(0))
  before = jax.tree.map(np.asarray, base)
  adapters = lora.create(base, jax.random.key(1), rank=2)
  optimizer = states.make_optimizer(learning_rate=0.1)
  state = states.create(adapters, optimizer)
  trained = sum(x.size for x in jax.tree.leaves(adapters))
  assert sum(x.size for x in jax.tree.leaves(state)) < 3 * trained + 10  # and two moments
  penalised = algorithms.make("grpo", kl_coef=0.1)
  arguments = dict(algorithm=penalised, optimizer=optimizer, reference=base, base=base)
  state, first = update(state, batch, **arguments)
  assert first["loss/kl"] == 0  # the base is the reference
  assert all(np.any(b != 0) for b in state.model.b.values())
  _, second = update(state, batch, **arguments)
  assert second["loss/kl"] > 1e-4
  jax.tree.map(np.testing.assert_array_equal, base, before)


def test_fresh_adapters_have_the_loss_of_their_base(batch, state):
  base = Decoder(CONFIG, jax.random.key(0))
  adapters = lora.create(base, jax.random.key(1), rank=2)
  of_adapters = states.create(adapters, OPTIMIZER)
  _, metrics = update(of_adapters, batch, base=base, entropies="recomputed")
  _, whole = update(state, batch, entropies="recomputed")
  np.testing.assert_allclose(metrics["loss/total"], whole["loss/total"], atol=1e-6)
