"""One decoder for Qwen2, Qwen3 and Llama: RMSNorm, rotary grouped-query attention, SwiGLU.

Parameters carry Hugging Face's names and shapes (`model.layers.self_attn.q_proj.weight`
is [out, in]); the layers are stacked along a leading axis. Modules are plain pytrees
that hold parameters and nothing else; the KV cache is an argument.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

from flax import nnx
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from empg_jax.distributed import sharding
from empg_jax.kernels import hardware
from empg_jax.models import attention, embedding, rotary
from empg_jax.models.linear import linear
from empg_jax.models.pieces import by_pieces


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
  """The shape of a decoder, with the names of Hugging Face's config.json."""

  vocab_size: int
  hidden_size: int
  intermediate_size: int
  num_hidden_layers: int
  num_attention_heads: int
  num_key_value_heads: int
  head_dim: int
  model_type: str = "qwen2"
  max_position_embeddings: int = 32768
  rope_theta: float = 1e6
  rope_scaling: rotary.Llama3Scaling | None = None
  rms_norm_eps: float = 1e-6
  tie_word_embeddings: bool = True
  attention_bias: bool = True  # on q, k and v only, as in Qwen2
  qk_norm: bool = False  # over each head of q and k, as in Qwen3

  def __post_init__(self):
    if self.num_attention_heads % self.num_key_value_heads:
      raise ValueError(
        f"num_attention_heads is {self.num_attention_heads}, which num_key_value_heads"
        f" {self.num_key_value_heads} does not divide: choose a multiple."
      )


class Linear(nnx.Module):
  """A weight [out, in] and an optional bias [out]."""

  def __init__(self, key: Key[Array, ""], inputs: int, outputs: int, scale: float, bias=False):
    self.weight = nnx.Param(scale * jax.random.normal(key, (outputs, inputs)))
    if bias:
      self.bias = nnx.Param(jnp.zeros(outputs))

  def __call__(self, x: Float[Array, "*batch I"], compute_dtype) -> Float[Array, "*batch O"]:
    y = linear(x, self.weight[...], compute_dtype)
    if not hasattr(self, "bias"):
      return y
    return y + jnp.broadcast_to(self.bias[...], y.shape)


class RMSNorm(nnx.Module):
  def __init__(self, size: int):
    self.weight = nnx.Param(jnp.ones(size))

  def __call__(self, x: Float[Array, "*batch D"], eps: float) -> Float[Array, "*batch D"]:
    mean_square = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
    normal = x * jax.lax.rsqrt(mean_square + eps)
    return normal * jnp.broadcast_to(self.weight[...], x.shape)


class SelfAttention(nnx.Module):
  def __init__(self, c: DecoderConfig, key: Key[Array, ""]):
    q, k, v, o = jax.random.split(key, 4)
    width, queries = c.hidden_size, c.num_attention_heads * c.head_dim
    kv = c.num_key_value_heads * c.head_dim
    self.q_proj = Linear(q, width, queries, width**-0.5, c.attention_bias)
    self.k_proj = Linear(k, width, kv, width**-0.5, c.attention_bias)
    self.v_proj = Linear(v, width, kv, width**-0.5, c.attention_bias)
    self.o_proj = Linear(o, queries, width, (2 * c.num_hidden_layers * queries) ** -0.5)
    if c.qk_norm:
      self.q_norm, self.k_norm = RMSNorm(c.head_dim), RMSNorm(c.head_dim)

  def __call__(self, x, positions, c: DecoderConfig, attend: Callable, compute_dtype):
    heads = lambda y: y.reshape(*x.shape[:2], -1, c.head_dim)
    q, k, v = (heads(p(x, compute_dtype)) for p in (self.q_proj, self.k_proj, self.v_proj))
    if c.qk_norm:
      q, k = self.q_norm(q, c.rms_norm_eps), self.k_norm(k, c.rms_norm_eps)
    frequency = rotary.frequencies(c.head_dim, c.rope_theta, c.rope_scaling)
    q, k = (rotary.rotate(y, positions, frequency) for y in (q, k))
    out, kept = attend(q, k, v)
    return self.o_proj(out.reshape(*x.shape[:2], -1), compute_dtype), kept


class MLP(nnx.Module):
  def __init__(self, c: DecoderConfig, key: Key[Array, ""]):
    gate, up, down = jax.random.split(key, 3)
    width, hidden = c.hidden_size, c.intermediate_size
    self.gate_proj = Linear(gate, width, hidden, width**-0.5)
    self.up_proj = Linear(up, width, hidden, width**-0.5)
    self.down_proj = Linear(down, hidden, width, (2 * c.num_hidden_layers * hidden) ** -0.5)

  def __call__(self, x, compute_dtype):
    if hardware.current().narrow:  # the largest activations of a layer, kept in their dtype
      x = x.astype(compute_dtype)
    gate, up = (p(x, compute_dtype).astype(jnp.float32) for p in (self.gate_proj, self.up_proj))
    return self.down_proj(jax.nn.silu(gate) * up, compute_dtype)


class Layer(nnx.Module):
  def __init__(self, c: DecoderConfig, key: Key[Array, ""]):
    attention_key, mlp_key = jax.random.split(key)
    self.self_attn = SelfAttention(c, attention_key)
    self.mlp = MLP(c, mlp_key)
    self.input_layernorm = RMSNorm(c.hidden_size)
    self.post_attention_layernorm = RMSNorm(c.hidden_size)

  def __call__(self, x, positions, c: DecoderConfig, attend: Callable, compute_dtype):
    h = _gathered(self.input_layernorm(x, c.rms_norm_eps), compute_dtype)
    h, kept = self.self_attn(h, positions, c, attend, compute_dtype)
    x = x + _scattered(h)

    def feed_forward(x):
      h = _gathered(self.post_attention_layernorm(x, c.rms_norm_eps), compute_dtype)
      return x + _scattered(self.mlp(h, compute_dtype))

    return by_pieces(feed_forward, x), kept


class Embedding(nnx.Module):
  def __init__(self, key: Key[Array, ""], size: int, width: int):
    self.weight = nnx.Param(0.02 * jax.random.normal(key, (size, width)))


class Backbone(nnx.Module):
  """Everything below the language-model head; `layers` is one Layer with stacked parameters."""

  def __init__(self, c: DecoderConfig, key: Key[Array, ""]):
    embed, layers = jax.random.split(key)
    self.embed_tokens = Embedding(embed, c.vocab_size, c.hidden_size)
    keys = jax.random.split(layers, c.num_hidden_layers)
    self.layers = jax.vmap(lambda key: Layer(c, key))(keys)
    self.norm = RMSNorm(c.hidden_size)


class Decoder(nnx.Module):
  """A decoder-only language model.

  Args:
    config: the model's shape.
    key: for the initial weights, which are float32.
  """

  def __init__(self, config: DecoderConfig, key: Key[Array, ""]):
    self.config = nnx.static(config) if hasattr(nnx, "static") else config
    backbone, head = jax.random.split(key)
    self.model = Backbone(config, backbone)
    if not config.tie_word_embeddings:
      self.lm_head = Linear(head, config.hidden_size, config.vocab_size, 0.02)

  @property
  def unembedding(self) -> Float[Array, "D V"]:
    """The matrix from hidden states to logits: hidden @ unembedding."""
    tied = self.config.tie_word_embeddings
    return (self.model.embed_tokens if tied else self.lm_head).weight[...].T

  def embed(self, tokens: Int[Array, "B T"]) -> Float[Array, "B T D"]:
    """Float32, because the layers add to it."""
    return embedding.lookup(self.model.embed_tokens.weight[...], tokens)

  def __call__(
    self, tokens: Int[Array, "B T"], *, compute_dtype: Any = jnp.float32, remat: bool = False
  ) -> Float[Array, "B T D"]:
    """Final hidden states (after the last norm) of whole rows, with causal attention."""
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1])[None], tokens.shape)
    attend = lambda q, k, v: (attention.causal_attention(q, k, v, compute_dtype), None)

    def body(x, layer):
      return layer(x, positions, self.config, attend, compute_dtype)

    scanned = hardware.current().scanned
    if remat:
      body = _checkpoint_rounded(body, compute_dtype) if scanned else jax.checkpoint(body)
    x = _scattered(self.embed(tokens))
    x, _ = jax.lax.scan(body, x, self.model.layers, unroll=not (scanned or remat) or 1)
    return self.model.norm(x, self.config.rms_norm_eps)


def _checkpoint_rounded(body: Callable, dtype: jax.typing.DTypeLike) -> Callable:
  """As jax.checkpoint, for a layer that reads its input rounded to `dtype` and saves only that.

  The residual connection still adds to the unrounded input.
  """

  def rounded(x, layer):
    kept = checkpoint_name(x.astype(dtype), "layer input")
    start = kept.astype(x.dtype)
    y, out = body(start, layer)
    return (y if kept.dtype == x.dtype else x + (y - start)), out

  keep = jax.checkpoint_policies.save_only_these_names("layer input")
  return jax.checkpoint(rounded, policy=keep)


_WHOLE = (sharding.ROWS,)
_BY_TIME = (sharding.ROWS, sharding.TENSOR)


def _scattered(x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
  """The residual stream: on a mesh, `tensor` shards it over time.

  The activations saved for the backward pass are then on no device twice.
  """
  return sharding.reshard(x, _BY_TIME, _WHOLE)


def _gathered(x: Float[Array, "B T D"], dtype: jax.typing.DTypeLike) -> Float[Array, "B T D"]:
  """The input of products, in their dtype: whole rows, because `tensor` shards the weights."""
  return sharding.reshard(x, _WHOLE, _BY_TIME, dtype)


def layer(layers: nnx.Module, index: int) -> Layer:
  """The parameters of one layer, whether layers are stacked or in a list (`apart`)."""
  return layers[index] if isinstance(layers, nnx.List) else jax.tree.map(lambda x: x[index], layers)


def apart(model: Decoder) -> Decoder:
  """The same model with a separate array for each layer's parameters."""
  model = jax.tree.map(lambda x: x, model)
  layers = model.model.layers
  each = [layer(layers, i) for i in range(model.config.num_hidden_layers)]
  model.model.layers = nnx.List(each)
  return model
