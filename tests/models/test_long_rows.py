"""The feed-forward part of a long row is computed in pieces, with the same result."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from empg_jax.distributed import sharding
from empg_jax.models import pieces
from empg_jax.models.decoder import Decoder, DecoderConfig

MODEL = Decoder(DecoderConfig(50, 32, 48, 2, 4, 2, 8), jax.random.key(0))


def loss(model, ids):
  hidden = model(ids, compute_dtype="float32", remat=True)
  return jnp.sum(jnp.sin(hidden)), hidden


def evaluated(model, ids):
  (_, hidden), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(model, ids)
  return jax.tree.leaves((hidden, gradient))


@pytest.mark.parametrize("axes", [{}, {"data": 2, "fsdp": 2, "tensor": 2}, {"fsdp": 4}])
def test_pieces_equal_the_whole_row(monkeypatch, axes):
  ids = jax.random.randint(jax.random.key(1), (4, 64), 0, 50)
  at_once = evaluated(MODEL, ids)
  monkeypatch.setattr(pieces, "TOKENS", 16)
  if not axes:
    in_pieces = evaluated(MODEL, ids)
  else:
    count = int(np.prod(list(axes.values())))
    mesh = sharding.make_mesh(**axes, devices=jax.devices()[:count])
    with jax.set_mesh(mesh):
      in_pieces = evaluated(sharding.place(MODEL, mesh), sharding.to_mesh(ids, mesh))
  for a, b in zip(at_once, in_pieces, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5 * float(jnp.max(jnp.abs(b))), rtol=1e-4)


@pytest.mark.parametrize("length, calls", [(31, (31,)), (32, (16,)), (50, (50,)), (48, (16,))])
def test_a_piece_has_the_tokens_that_were_asked_for(monkeypatch, length, calls):
  monkeypatch.setattr(pieces, "TOKENS", 16)
  seen = []

  def f(x):
    seen.append(x.shape[1])
    return 2 * x

  x = jnp.arange(2.0 * length * 3).reshape(2, length, 3)
  np.testing.assert_array_equal(pieces.by_pieces(f, x), 2 * x)
  assert tuple(dict.fromkeys(seen)) == calls
