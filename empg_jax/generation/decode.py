"""One turn of every slot as one program: read the observation, sample the reply."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Int, Key

from empg_jax.distributed import sharding
from empg_jax.generation import cache as caching, sampling
from empg_jax.generation.cache import Cache
from empg_jax.kernels import hardware
from empg_jax.models import attention
from empg_jax.models.decoder import Decoder, layer
from empg_jax.models.linear import linear


class Replies(NamedTuple):
  """What the slots said in one turn; entries past `lengths` are 0."""

  ids: Int[Array, "B R"]
  lengths: Int[Array, "B"]
  logprobs: Float[Array, "B R"]
  entropy: Float[Array, "B R"]


@functools.partial(
  jax.jit, donate_argnames=("cache",),
  static_argnames=("window", "max_reply", "end_id", "vocab_size"),
)  # fmt: skip
def turn(
  model: Decoder,
  cache: Cache,
  read: Int[Array, "B"],
  written: Int[Array, "B"],
  piece: Int[Array, "B O"],
  piece_lengths: Int[Array, "B"],
  episodes: Int[Array, "B"],
  turns: Int[Array, "B"],
  key: Key[Array, ""],
  temperature: Float[Array, ""],
  *,
  window: int,
  max_reply: int,
  end_id: int,
  vocab_size: int | None = None,
) -> tuple[Cache, Replies]:
  """Appends a piece of ids to every slot and samples its reply.

  Args:
    model: matrices already in the type to compute with.
    cache: of the turn before; donated.
    read: how many columns of `past` each slot has filled.
    written: how many columns of `recent` it has filled since (0 for a new episode).
    piece: what each slot reads now, padded on the right; it begins with the last
      sampled id, whose keys and values no one has computed yet.
    piece_lengths: 0 for an idle slot, which samples nothing.
    episodes, turns, key: see sampling.slot_keys; and for vocab_size sampling.sample.
    temperature: 0 for greedy.
    window: columns of `past` that attention looks at; at least read + written + piece.
    max_reply, end_id: a reply ends with `end_id` or at `max_reply` tokens.
  """
  window = caching.columns(cache, window)
  of_slots = lambda *xs: [sharding.divide(x, sharding.ROWS) for x in xs]
  read, written, piece, piece_lengths = of_slots(read, written, piece, piece_lengths)
  past = caching.append(cache.past, cache.recent, read)
  read = read + written
  hidden, past = _read_piece(model, past, piece, read, window)
  last = jnp.maximum(piece_lengths - 1, 0)
  hidden = jnp.take_along_axis(hidden, last[:, None, None], axis=1)
  keys = sampling.slot_keys(key, *of_slots(episodes, turns))
  start = read + piece_lengths
  recent, replies = _write_reply(
    model, past, cache.recent, hidden, start, piece_lengths > 0, keys, temperature,
    window=window, max_reply=max_reply, end_id=end_id, vocab_size=vocab_size,
  )  # fmt: skip
  return Cache(past, recent), Replies(*of_slots(*replies))


def _visible(lengths: Int[Array, "B"], window: int):
  return jnp.arange(window)[None, :] < lengths[:, None]


def _run(model, x, positions, caches, attend):
  """The decoder; attend(cache of a layer, q, k, v) gives the output and what to keep."""

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


def _heads(x: Float[Array, "B T K D"], dtype) -> Float[Array, "B K T D"]:
  """New keys or values as the cache of a layer has them."""
  return x.astype(dtype).swapaxes(1, 2)


def _attend(q, past, recent, past_visible, recent_visible):
  """cached_attention on each device's rows and heads."""

  def on_shard(q, past, recent, past_visible):
    flat = lambda x: x.reshape(-1, *x.shape[2:])
    past, recent = jax.tree.map(flat, (past, recent))
    return attention.cached_attention(q, past, recent, past_visible, recent_visible)

  heads = PartitionSpec(sharding.ROWS, None, sharding.TENSOR)
  cached = caching.spec(past[0].ndim)
  given = (heads, cached, cached, PartitionSpec(sharding.ROWS))
  return sharding.on_shards(on_shard, given, heads)(q, past, recent, past_visible)


def _read_piece(model, past, piece, read, window):
  """Final hidden states [B, O, D] of the piece, and `past` with it appended."""
  length = piece.shape[1]
  positions = read[:, None] + jnp.arange(length)[None, :]
  past_visible = _visible(read, window)
  causal = jnp.tril(jnp.ones((length, length), bool))
  seen = _seen(past, window, model.unembedding.dtype)

  def attend(seen, q, k, v):
    seen = caching.first(seen, window)
    new = tuple(_heads(x, seen[0].dtype) for x in (k, v))
    return _attend(q, seen, new, past_visible, causal), new

  hidden, new = _run(model, model.embed(piece), positions, seen, attend)
  return hidden, caching.append(past, new, read)


def _seen(past, window: int, dtype: jnp.dtype):
  """What layers attend to, as numbers of `dtype`.

  A layer of a TPU's scan reads its columns in place, where cutting all at once would copy them.
  Elsewhere every token would cut them anew.
  """
  if hardware.current().cuts_once:
    past = caching.first(past, window)
  return caching.values(dtype, past)


def _write_reply(
    model, past, recent, hidden, start, active, keys, temperature,
    *, window, max_reply, end_id, vocab_size,
):  # fmt: skip
  """Samples until every active slot has ended: (recent, Replies)."""
  seen = _seen(past, window, model.unembedding.dtype)
  past_visible = _visible(start, window)

  def draw(hidden, index):
    # Products with an [out, in] matrix, as `linear` has them, are the fast ones on CPU.
    logits = linear(hidden[:, 0], model.unembedding.T, model.unembedding.dtype)
    return sampling.sample(logits, keys, index, temperature, vocab_size)

  def record(replies, drawn, index, active):
    put = lambda x, new: x.at[:, index].set(jnp.where(active, new, jnp.zeros_like(new)))
    of_tokens = replies.ids, replies.logprobs, replies.entropy
    ids, logprobs, entropy = map(put, of_tokens, drawn)
    return Replies(ids, replies.lengths + active, logprobs, entropy)

  def going_on(carry):
    _, _, index, active, _ = carry
    return (index + 1 < max_reply) & jnp.any(active)

  def step(carry):
    recent, ids, index, active, replies = carry
    recent_visible = (jnp.arange(max_reply) <= index)[None, :]

    def attend(cache, q, k, v):
      seen, recent = cache
      seen = caching.first(seen, window)
      new = tuple(_heads(x, seen[0].dtype) for x in (k, v))
      written = caching.put(recent, new, index)
      out = _attend(q, seen, caching.values(seen[0].dtype, written), past_visible, recent_visible)
      return out, new if caching.scanned() else written  # a scan would write all columns anew

    caches = (seen, recent) if caching.scanned() else tuple(zip(seen, recent))
    hidden, kept = _run(model, model.embed(ids[:, None]), (start + index)[:, None], caches, attend)
    recent = caching.put(recent, kept, index) if caching.scanned() else kept
    drawn = draw(hidden, index + 1)
    replies = record(replies, drawn, index + 1, active)
    active = active & (drawn[0] != end_id)
    return recent, drawn[0], index + 1, active, replies

  zeros = lambda dtype, *shape: jnp.zeros((hidden.shape[0], *shape), dtype)
  of_tokens = zeros(jnp.float32, max_reply)
  replies = Replies(zeros(jnp.int32, max_reply), zeros(jnp.int32), of_tokens, of_tokens)
  first = draw(hidden, jnp.int32(0))
  replies = record(replies, first, 0, active)
  carry = (recent, first[0], jnp.int32(0), active & (first[0] != end_id), replies)
  recent, _, _, _, replies = jax.lax.while_loop(going_on, step, carry)
  return recent, replies
