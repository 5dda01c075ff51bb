"""Cloning raises the likelihood of demonstrated replies."""

import jax
import numpy as np

from empg_jax.data.cloning import Rows
from empg_jax.models.decoder import Decoder, DecoderConfig
from empg_jax.training import sft, state as states


def test_it_learns_a_demonstrated_reply_and_leaves_the_rest():
  rng = np.random.default_rng(0)
  ids = rng.integers(1, 20, (4, 17)).astype(np.int32)
  weights = np.zeros((4, 16), np.float32)
  weights[:, 8:] = 1
  rows = Rows(jax.numpy.asarray(ids[:, :-1]), jax.numpy.asarray(ids[:, 1:]), weights)
  optimizer = states.make_optimizer(learning_rate=1e-2, warmup_steps=3, decay_steps=60)
  model = Decoder(DecoderConfig(20, 32, 48, 2, 2, 1, 16), jax.random.key(0))
  state = states.create(model, optimizer)
  for _ in range(60):
    state, metrics = sft.sft_step(
      state, jax.tree.map(jax.numpy.asarray, rows), optimizer=optimizer, size=2,
      compute_dtype="float32",
    )  # fmt: skip
  assert metrics["reply_logprob"] > -0.1
  np.testing.assert_allclose(metrics["loss"], -metrics["reply_logprob"], rtol=1e-5)
