"""New adapters change nothing, merged equal unmerged ones, and only they are trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from empg_jax.models import lora
from empg_jax.models.decoder import Decoder, DecoderConfig

CONFIG = DecoderConfig(31, 16, 24, 3, 4, 2, 6)
TOKENS = jnp.asarray(np.random.default_rng(0).integers(0, 31, (2, 40)))


@pytest.fixture(scope="module")
def base():
  return Decoder(CONFIG, jax.random.key(0))


@pytest.fixture
def trained(base):
  """Adapters of all projections as they are after some training."""
  adapters = lora.create(base, jax.random.key(1), rank=3, alpha=6.0)
  b = {name: 0.2 * jax.random.normal(jax.random.key(2), x.shape) for name, x in adapters.b.items()}
  return lora.Adapters(adapters.a, b, adapters.scale)


def logits(model):
  return jax.jit(lambda m: m(TOKENS) @ m.unembedding)(model)


def leaves(model):
  return [np.asarray(x) for x in jax.tree.leaves(model)]


def test_fresh_adapters_change_nothing(base):
  adapters = lora.create(base, jax.random.key(1), rank=3)
  np.testing.assert_array_equal(logits(lora.attach(base, adapters)), logits(base))
  for a, b in zip(leaves(lora.merge(base, adapters)), leaves(base)):
    np.testing.assert_array_equal(a, b)


def test_merged_equals_unmerged(base, trained):
  attached, merged = logits(lora.attach(base, trained)), logits(lora.merge(base, trained))
  np.testing.assert_allclose(merged, attached, atol=1e-5)
  assert np.abs(attached - logits(base)).max() > 0.1
  assert jax.tree.structure(lora.merge(base, trained)) == jax.tree.structure(base)


def test_a_merged_weight_is_w_plus_alpha_over_rank_b_a(base, trained):
  merged = lora.merge(base, trained).model.layers.mlp.down_proj.weight[...]
  w = base.model.layers.mlp.down_proj.weight[...]
  for i in range(3):
    change = 6.0 / 3 * np.asarray(trained.b["down_proj"][i]) @ np.asarray(trained.a["down_proj"][i])
    np.testing.assert_allclose(merged[i], w[i] + change, atol=1e-5)


def test_neither_writes_to_the_base_nor_copies_what_is_not_adapted(base, trained):
  before = leaves(base)
  merged, attached = lora.merge(base, trained), lora.attach(base, trained)
  for a, b in zip(leaves(base), before):
    np.testing.assert_array_equal(a, b)
  assert merged.model.embed_tokens.weight[...] is base.model.embed_tokens.weight[...]
  q_proj = attached.model.layers.self_attn.q_proj
  assert q_proj.base.weight[...] is base.model.layers.self_attn.q_proj.weight[...]


def loss(model):
  weights = jax.random.normal(jax.random.key(3), (*TOKENS.shape, CONFIG.hidden_size))
  return jnp.sum(weights * model(TOKENS))


def gradient(into, base, adapters):
  return jax.jit(jax.grad(lambda adapters: loss(into(base, adapters))))(adapters)


def test_only_adapters_get_a_gradient_and_it_is_that_of_the_merged_weights(base, trained):
  beside, through = (gradient(into, base, trained) for into in (lora.attach, lora.merge))
  assert jax.tree.structure(beside) == jax.tree.structure(trained)
  for a, b in zip(jax.tree.leaves(beside), jax.tree.leaves(through)):
    assert np.abs(a).max() > 0.01
    np.testing.assert_allclose(a, b, atol=1e-3, rtol=1e-3)


def test_the_weights_of_the_base_get_no_gradient_computed(base, trained):
  cost = lambda f, x: jax.jit(jax.grad(f)).lower(x).compile().cost_analysis()["flops"]
  assert cost(lambda x: loss(lora.attach(base, x)), trained) < cost(loss, base)


def test_some_projections_can_be_chosen_and_an_unknown_one_is_named(base):
  adapters = lora.create(base, jax.random.key(1), rank=2, targets=("q_proj", "v_proj"))
  assert {name: x.shape for name, x in adapters.a.items()} == {
    "q_proj": (3, 2, 16), "v_proj": (3, 2, 16)
  }  # fmt: skip
  assert {name: x.shape for name, x in adapters.b.items()} == {
    "q_proj": (3, 24, 2), "v_proj": (3, 12, 2)
  }  # fmt: skip
  np.testing.assert_array_equal(logits(lora.attach(base, adapters)), logits(base))
  with pytest.raises(ValueError, match="no projection 'q_projs': did you mean 'q_proj'"):
    lora.create(base, jax.random.key(1), rank=2, targets=("q_projs",))
  with pytest.raises(ValueError, match="rank 0 for 7 projections train nothing"):
    lora.create(base, jax.random.key(1), rank=0)


def test_a_narrow_base_stays_narrow(base, trained):
  narrow = jax.tree.map(lambda x: x.astype(jnp.bfloat16), base)
  merged = lora.merge(narrow, trained)
  assert {x.dtype for x in jax.tree.leaves(merged)} == {jnp.dtype("bfloat16")}
  assert {x.dtype for x in jax.tree.leaves(trained)} == {jnp.dtype("float32")}
  np.testing.assert_allclose(
    logits(merged), logits(lora.attach(narrow, trained)), atol=0.1, rtol=0.1
  )


def test_a_model_trained_as_a_whole_has_no_base(base):
  assert lora.attach(None, base) is base and lora.merge(None, base) is base
