"""The decoder computes Qwen2's function, each token seeing only those before it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from empg_jax.kernels.attention import products
from empg_jax.models import attention, decoder
from empg_jax.models.decoder import Decoder, DecoderConfig
from empg_jax.models.linear import linear

CONFIG = DecoderConfig(
  vocab_size=31,
  hidden_size=16,
  intermediate_size=24,
  num_hidden_layers=3,
  num_attention_heads=4,
  num_key_value_heads=2,
  head_dim=6,
  rope_theta=100.0,
)


def random_model(config=CONFIG):
  """Initial weights with every bias and norm moved away from 0 and 1."""
  model = Decoder(config, jax.random.key(0))
  leaves, structure = jax.tree.flatten(model)
  keys = jax.random.split(jax.random.key(1), len(leaves))
  noise = [x + 0.3 * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves)]
  return jax.tree.unflatten(structure, noise)


def rms_norm(x, weight):
  return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-6) * weight


def plain_forward(model, tokens):
  """Qwen2 for one row in NumPy, one head and one token at a time."""
  c, m = model.config, model.model
  take = lambda variable, i: np.asarray(variable[...], np.float64)[i]
  x = np.asarray(m.embed_tokens.weight[...], np.float64)[tokens]
  angle = np.arange(len(tokens))[:, None] * c.rope_theta ** -(np.arange(3) / 3)

  def rotate(v):
    a, b = v[:, :3], v[:, 3:]
    return np.concatenate(
      [a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], axis=1
    )

  for i in range(c.num_hidden_layers):
    layer, attn = m.layers, m.layers.self_attn
    h = rms_norm(x, take(layer.input_layernorm.weight, i))
    q, k, v = (
      h @ take(p.weight, i).T + take(p.bias, i) for p in (attn.q_proj, attn.k_proj, attn.v_proj)
    )
    heads = []
    for head in range(4):
      of = lambda y, n: y[:, 6 * n : 6 * n + 6]
      qh, kh, vh = rotate(of(q, head)), rotate(of(k, head // 2)), of(v, head // 2)
      out = np.zeros_like(qh)
      for t in range(len(tokens)):
        scores = kh[: t + 1] @ qh[t] / np.sqrt(6)
        weights = np.exp(scores - scores.max())
        out[t] = weights / weights.sum() @ vh[: t + 1]
      heads.append(out)
    x = x + np.concatenate(heads, axis=1) @ take(attn.o_proj.weight, i).T
    h = rms_norm(x, take(layer.post_attention_layernorm.weight, i))
    gate = h @ take(layer.mlp.gate_proj.weight, i).T
    up = h @ take(layer.mlp.up_proj.weight, i).T
    x = x + (gate / (1 + np.exp(-gate)) * up) @ take(layer.mlp.down_proj.weight, i).T
  return rms_norm(x, np.asarray(m.norm.weight[...], np.float64))


def test_the_forward_pass_is_qwen2_written_in_numpy():
  model = random_model()
  tokens = np.random.default_rng(0).integers(0, 31, (2, 150)).astype(np.int32)
  got = jax.jit(lambda m, x: m(x))(model, tokens)
  for row in range(2):
    np.testing.assert_allclose(got[row], plain_forward(model, tokens[row]), atol=2e-4)


def test_later_tokens_change_nothing_before_them():
  model = random_model()
  tokens = jnp.asarray(np.random.default_rng(1).integers(0, 31, (1, 100)))
  other = tokens.at[:, 70:].set(0)
  np.testing.assert_array_equal(model(tokens)[:, :70], model(other)[:, :70])


def test_parameters_have_hugging_faces_names_and_shapes():
  model = Decoder(CONFIG, jax.random.key(0))
  assert model.model.layers.self_attn.q_proj.weight.shape == (3, 24, 16)
  assert model.model.layers.self_attn.k_proj.bias.shape == (3, 12)
  assert model.model.layers.mlp.down_proj.weight.shape == (3, 16, 24)
  assert model.model.embed_tokens.weight.shape == (31, 16)
  assert model.unembedding.shape == (16, 31)


def test_recomputing_layers_changes_no_gradient():
  model = random_model()
  tokens = jnp.asarray(np.random.default_rng(2).integers(0, 31, (2, 20)))

  def gradient(remat):
    return jax.grad(lambda m: jnp.sum(jnp.square(m(tokens, remat=remat))))(model)

  for a, b in zip(jax.tree.leaves(gradient(True)), jax.tree.leaves(gradient(False))):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("bfloat16", 3e-2)])
def test_linear_has_the_gradient_of_a_matrix_product(dtype, tolerance):
  keys = jax.random.split(jax.random.key(0), 3)
  x, w, g = (jax.random.normal(k, s) for k, s in zip(keys, [(2, 5, 7), (3, 7), (2, 5, 3)]))
  got = jax.vjp(lambda x, w: linear(x, w, jnp.dtype(dtype)), x, w)
  want = jax.vjp(lambda x, w: x @ w.T, x, w)
  np.testing.assert_allclose(got[0], want[0], atol=10 * tolerance, rtol=tolerance)
  for a, b in zip(got[1](g), want[1](g)):
    np.testing.assert_allclose(a, b, atol=10 * tolerance, rtol=tolerance)


def test_attention_over_two_caches_is_attention_over_their_concatenation():
  batch, heads, kv_heads, dim, past, recent = 2, 4, 2, 8, 10, 3
  keys = iter(jax.random.split(jax.random.key(0), 5))
  q = jax.random.normal(next(keys), (batch, recent, heads, dim))
  k_past, v_past = (jax.random.normal(next(keys), (batch, past, kv_heads, dim)) for _ in "kv")
  k_new, v_new = (jax.random.normal(next(keys), (batch, recent, kv_heads, dim)) for _ in "kv")
  got = attention.cached_attention(
    q,
    (products.flat_heads(k_new), products.flat_heads(v_new)),
    jnp.tril(jnp.ones((recent, recent), bool)),
    [(0, lambda: (products.flat_heads(k_past), products.flat_heads(v_past)))],
    jnp.full(batch, past),
    1,
  )
  k, v = jnp.concatenate([k_past, k_new], 1), jnp.concatenate([v_past, v_new], 1)
  padded = jnp.concatenate([jnp.zeros((batch, past, heads, dim)), q], 1)
  want = attention.causal_attention(padded, k, v, jnp.dtype("float32"))[:, past:]
  np.testing.assert_allclose(got, want, atol=1e-5)


def test_heads_that_do_not_divide_are_refused():
  with pytest.raises(ValueError, match="num_key_value_heads 3 does not divide"):
    DecoderConfig(8, 8, 8, 1, 4, 3, 8)


def test_a_layer_that_is_recomputed_keeps_its_input_in_the_products_type():
  body = lambda x, weight: (x + jnp.sin(weight * x), None)
  weights, x = jnp.linspace(0.5, 2.0, 3), jnp.linspace(-1.0, 1.0, 64)

  def gradient(body):
    return jax.grad(lambda w, x: jnp.sum(jnp.cos(jax.lax.scan(body, x, w)[0])), argnums=(0, 1))

  want = gradient(body)(weights, x)
  exact = gradient(decoder._checkpoint_rounded(body, "float32"))
  rounded = gradient(decoder._checkpoint_rounded(body, "bfloat16"))
  for got, tolerance in ((exact, 1e-6), (rounded, 2e-2)):
    for a, b in zip(got(weights, x), want):
      np.testing.assert_allclose(a, b, atol=tolerance * np.abs(b).max())
  kept = str(jax.make_jaxpr(rounded)(weights, x))
  assert "bf16[3,64]" in kept and "f32[3,64]" not in kept
