"""A decoder's layers over a cache: what reading pieces and writing replies share."""

from collections.abc import Callable, Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from empg_jax.distributed import sharding
from empg_jax.generation import cache as caching
from empg_jax.models import attention
from empg_jax.models.decoder import Decoder, layer


def run(
  model: Decoder,
  x: Float[Array, "B T W"],
  positions: Int[Array, "B T"],
  caches: Any,
  attend: Callable,
) -> tuple[Float[Array, "B T W"], Any]:
  """The decoder; attend(cache of a layer, q, k, v) gives the output and what to keep of it."""

  def body(x, layer_and_cache):
    block, cache = layer_and_cache
    attend_to = functools.partial(attend, cache)
    return block(x, positions, model.config, attend_to, model.unembedding.dtype)

  if caching.scanned():
    x, kept = jax.lax.scan(body, x, (model.model.layers, caches))
  else:
    kept = []
    for i, cache in enumerate(caches):
      x, keep = body(x, (layer(model.model.layers, i), cache))
      kept.append(keep)
    kept = tuple(kept)
  return model.model.norm(x, model.config.rms_norm_eps), kept


def heads(x: Float[Array, "B T K D"], dtype: jnp.dtype) -> Float[Array, "B K T D"]:
  """New keys or values as the cache of a layer has them."""
  return x.astype(dtype).swapaxes(1, 2)


def attend(
  q: Float[Array, "B T H D"],
  new: caching.KV,
  visible: Bool[Array, "T N"],
  past: Any,
  lengths: Int[Array, "B"],
  count: int | Int[Array, ""],
  windows: Sequence[int],
  rows: Int[Array, "B"] | None = None,
) -> Float[Array, "B T H D"]:
  """Attention of each device's rows and heads over a layer's cache and over what is new.

  Args:
    q: queries.
    new: keys and values that the cache does not hold yet.
    visible: which of them each query sees.
    past: the layer's cache.
    lengths: columns of it that each row sees.
    count: spans that these take.
    windows: where the spans end.
    rows: the slot of each row, on its own device; None: the rows are the slots.
  """
  known = isinstance(count, int)
  flat = lambda x: x.reshape(-1, *x.shape[2:])

  def on_shard(q, new, past, lengths, rows, traced):
    def fetch(index):
      kv = caching.of_span(past, index, windows)
      return jax.tree.map(flat, kv if rows is None else jax.tree.map(lambda x: x[rows], kv))

    spans = [
      (start, functools.partial(fetch, i)) for i, (start, _) in enumerate(caching.spans(windows))
    ]
    new = jax.tree.map(flat, new)
    return attention.cached_attention(q, new, visible, spans, lengths, count if known else traced)

  each, whole = PartitionSpec(sharding.ROWS), PartitionSpec()
  by_heads = PartitionSpec(sharding.ROWS, None, sharding.TENSOR)
  given = (by_heads, caching.spec(4), caching.spec(4), each, each, whole)
  traced = jnp.int32(0) if known else count
  return sharding.on_shards(on_shard, given, by_heads)(q, new, past, lengths, rows, traced)
