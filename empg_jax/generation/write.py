"""Writing replies: a few tokens for every slot that has one under way."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from empg_jax.distributed import sharding
from empg_jax.generation import cache as caching, layers, sampling
from empg_jax.generation.cache import Cache
from empg_jax.models.decoder import Decoder
from empg_jax.models.linear import linear


class Written(NamedTuple):
  """What the slots have written; entries past `counts` are 0."""

  ids: Int[Array, "B N"]
  counts: Int[Array, "B"]
  logprobs: Float[Array, "B N"]
  entropy: Float[Array, "B N"]
  steps: Int[Array, "B"]  # that were run, as many for all slots


class Turn(NamedTuple):
  """Where each slot is."""

  last: Int[Array, "B"]  # the id that comes next; its keys and values are not in the cache yet
  lengths: Int[Array, "B"]  # columns filled
  index: Int[Array, "B"]  # the place in the reply of the token to sample
  left: Int[Array, "B"]  # tokens that may still be sampled; 0: the slot is idle
  episodes: Int[Array, "B"]  # see sampling.slot_keys, as for the next
  turns: Int[Array, "B"]


@functools.partial(
  jax.jit,
  donate_argnames=("cache",),
  static_argnames=("tokens", "end_id", "windows", "spans", "vocab_size"),
)
def write(
  model: Decoder,
  cache: Cache,
  turn: Turn,
  key: Key[Array, ""],
  temperature: Float[Array, ""],
  seen: Int[Array, ""],
  *,
  tokens: int,
  end_id: int,
  windows: tuple[int, ...],
  spans: int | None,
  vocab_size: int | None = None,
) -> tuple[Cache, Written]:
  """Samples until every slot's reply has ended, and at most `tokens` tokens a slot.

  Each slot is at its own place in its own reply. Until the end all write the same column of a
  small buffer, so that a token costs one small update and no scatter. What a slot samples
  depends on its row alone: not on the others, nor on its place.

  Args:
    model: matrices already in the type to compute with.
    cache: donated.
    turn: of every slot.
    key: see sampling.slot_keys; and for vocab_size sampling.sample.
    temperature: 0 for greedy.
    seen: how many spans of columns hold all that these slots have filled.
    tokens: of a slot at most.
    end_id: ends a reply.
    windows: where the spans end.
    spans: their number if it is part of the program; None: it follows `seen`.
  """
  turn = Turn(*[sharding.divide(x, sharding.ROWS) for x in turn])
  keys = sampling.slot_keys(key, turn.episodes, turn.turns)
  dtype = model.unembedding.dtype
  count = seen if spans is None else spans

  def draw(hidden, step):
    # Products with an [out, in] matrix, as `linear` has them, are the fast ones on CPU.
    logits = linear(hidden[:, 0], model.unembedding.T, dtype)
    return sampling.sample(logits, keys, turn.index + step, temperature, vocab_size)

  def going_on(carry):
    return (carry[2] < tokens) & jnp.any(carry[3])  # step, active

  def step(carry):
    recent, last, step, active, written = carry
    visible = (jnp.arange(tokens) <= step)[None, :]

    def attend(layer, q, k, v):
      past, recent = layer
      new = tuple(layers.heads(x, dtype) for x in (k, v))
      buffer = caching.put(recent, new, step)
      out = layers.attend(q, buffer, visible, past, turn.lengths, count, windows)
      return out, new if caching.scanned() else buffer  # a scan would write all columns anew

    caches = (cache, recent) if caching.scanned() else tuple(zip(cache, recent))
    positions = (turn.lengths + step)[:, None]
    hidden, kept = layers.run(model, model.embed(last[:, None]), positions, caches, attend)
    recent = caching.put(recent, kept, step) if caching.scanned() else kept
    drawn = draw(hidden, step)
    written = _record(written, drawn, step, active)
    active = active & (drawn[0] != end_id) & (step + 1 < turn.left)
    return recent, drawn[0], step + 1, active, written

  carry = (
    caching.buffers(cache, tokens),
    turn.last,
    jnp.int32(0),
    turn.left > 0,
    _nothing(turn, tokens),
  )
  recent, _, steps, _, written = jax.lax.while_loop(going_on, step, carry)
  written = written._replace(steps=jnp.full_like(written.counts, steps))
  written = Written(*[sharding.divide(x, sharding.ROWS) for x in written])
  return caching.append(cache, recent, turn.lengths, written.counts, windows), written


def _nothing(turn: Turn, tokens: int) -> Written:
  zeros = lambda dtype, *shape: jnp.zeros((turn.last.shape[0], *shape), dtype)
  of_tokens, of_slots = zeros(jnp.float32, tokens), zeros(jnp.int32)
  return Written(zeros(jnp.int32, tokens), of_slots, of_tokens, of_tokens, of_slots)


def _record(written: Written, drawn, step, active) -> Written:
  put = lambda x, new: x.at[:, step].set(jnp.where(active, new, jnp.zeros_like(new)))
  ids, logprobs, entropy = map(put, (written.ids, written.logprobs, written.entropy), drawn)
  return Written(ids, written.counts + active, logprobs, entropy, written.steps)
