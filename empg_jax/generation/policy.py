"""The policy as the actor sees it: pieces of ids in, sampled replies out."""

from collections.abc import Callable, Sequence
import contextlib
import copy
import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
import numpy as np

from empg_jax.distributed import hosts, sharding
from empg_jax.generation import cache as caching, decode, layout, owners
from empg_jax.kernels import hardware
from empg_jax.models.decoder import Decoder, DecoderConfig


@dataclasses.dataclass(frozen=True)
class HostReply:
  """A turn's replies: ids [slots, R], lengths [slots], logprobs and entropy [slots, R]."""

  ids: np.ndarray
  lengths: np.ndarray
  logprobs: np.ndarray
  entropy: np.ndarray


class Reply:
  """A turn's replies, perhaps still being computed."""

  def __init__(self, replies: decode.Replies, fetch: Callable[[decode.Replies], Sequence]):
    self._device, self._fetch, self._host = replies, fetch, None

  def fetch(self) -> HostReply:
    """Waits for the replies and brings them to the host, in one transfer."""
    if self._host is None:
      self._host = HostReply(*self._fetch(self._device))
      self._device = None
    return self._host


@dataclasses.dataclass
class Slots:
  """A fixed number of conversations and what is known about their cache."""

  cache: caching.Cache
  model: int  # which of the policy's copies decodes them
  read: np.ndarray  # [slots] columns filled in the past cache
  reply: Reply | None = None  # of the last turn


class Policy:
  """Samples replies for `slots` conversations at a time, keeping their KV cache between turns.

  Args:
    model: parameters; `update` takes newer ones.
    slots: conversations decoded together.
    max_length: tokens a conversation may have, replies included.
    max_reply: tokens a reply may have, its end-of-turn id included.
    end_id: the end-of-turn id.
    vocab_size: ids from this on stand for no text and are never sampled; the model may have
      more, rows that pad its vocabulary. None: all of the model's can be.
    temperature: of the sampling; 0 is greedy.
    compute_dtype: operand type of the matrix products and of the cache.
    piece_lengths: bucket sizes for what is read in a turn.
    windows: bucket sizes for the part of the cache that is looked at.
    devices: groups of slots are dealt out over these in turn.
    mesh: of accelerators over which every group is divided, instead of `devices`. On several
      hosts each fills its own part of the slots (owners.givers), `self.slots` of them, and all
      act at the same time.
  """

  def __init__(
    self,
    model: Decoder,
    *,
    slots: int,
    max_length: int,
    max_reply: int,
    end_id: int,
    vocab_size: int | None = None,
    temperature: float = 1.0,
    compute_dtype: str = "float32",
    piece_lengths: Sequence[int] = (32, 128),
    windows: Sequence[int] = (256, 512, 1024),
    devices: Sequence[jax.Device] | None = None,
    mesh: Mesh | None = None,
  ):
    self.slots = self._all_slots = slots
    self.max_length, self.max_reply = max_length, max_reply
    self.end_id, self.temperature = end_id, temperature
    padded = vocab_size is not None and vocab_size < model.config.vocab_size
    self._vocab_size = vocab_size if padded else None
    self._dtype = jnp.dtype(compute_dtype)
    self._piece_lengths = tuple(sorted(piece_lengths))
    self._windows = tuple(sorted({min(w, max_length) for w in (*windows, max_length)}))
    self._devices = tuple(devices or jax.local_devices())
    self._mesh, self._own = mesh, None
    if mesh is not None:
      sharding.check_rows("policy.slots", slots, mesh.size, **mesh.shape)
      if jax.process_count() > 1:
        self._own = owners.HostSlots(mesh, slots, jax.process_index())
        self.slots = self._own.count
      self._reshard = layout.for_decoding(mesh, model, self._dtype)
    self._empty = self._cache_maker(model.config)
    self.update(model)

  @property
  def max_piece(self) -> int:
    """The most ids that a turn reads, the last of the reply before among them."""
    return self._piece_lengths[-1]

  def update(self, model: Decoder) -> None:
    """Takes new parameters for the turns to come."""
    self.release()
    if self._mesh is not None:
      self._models = [self._reshard(model)]
      return
    made = layout.prepare(model, self._dtype, hardware.current().decode_layers)
    self._models = [jax.device_put(made, device) for device in self._devices]

  def release(self) -> None:
    """Lets the parameters go, for an update needs the room; none are there until `update`."""
    self._models = []

  def at(self, temperature: float) -> "Policy":
    """The same policy sampling at another temperature, as of now."""
    other = copy.copy(self)
    other.temperature = temperature
    return other

  def start(self, half: int = 0) -> Slots:
    """Empty slots; the halves that play side by side are dealt out over the devices.

    By its number a half has the same device at all times, so that a run with one half alone
    compiles a turn for one device.
    """
    index = half % len(self._models)
    with self._on_mesh():
      cache = self._empty()
    if self._mesh is None:
      cache = jax.device_put(cache, self._devices[index])
    return Slots(cache, index, np.zeros(self.slots, np.int32))

  def act(
    self,
    slots: Slots,
    pieces: Sequence[Sequence[int] | None],
    episodes: Sequence[int],
    turns: Sequence[int],
    key: jax.Array,
    *,
    anew: bool = False,
  ) -> tuple[Slots, Reply | None]:
    """Reads one piece a slot and samples its reply; returns without waiting for it.

    There is no reply if all slots are idle, on all hosts.

    Args:
      slots: from `start` or the last `act`; not to be used again.
      pieces: the new ids of each slot, None for an idle one.
      episodes: a number for each slot's episode, distinct within `key`.
      turns: each slot's turn; 0 begins a new conversation.
      key: with episodes and turns, decides what is sampled.
      anew: whether every turn begins a new conversation.

    Raises:
      ValueError: a piece longer than the largest bucket, or no room for it and a reply.
    """
    fresh = np.asarray([anew or turn == 0 for turn in turns], bool)
    read, written, last = self._carried_over(slots, fresh)
    full = [self._with_last(*x) for x in zip(pieces, last.tolist(), fresh.tolist())]
    lengths = np.asarray([len(piece) for piece in full], np.int32)
    total = np.where(lengths > 0, read + written + lengths, 0)
    longest = np.asarray([lengths.max(initial=0), total.max(initial=0)], np.int32)
    self._check_room(*longest.tolist())
    if self._own is not None:  # All hosts run the same program.
      longest = hosts.gather(longest).max(axis=0)
    if not longest[0]:
      return slots, None
    width = next(n for n in self._piece_lengths if n >= longest[0])
    ids = np.zeros((self.slots, width), np.int32)
    for row, piece in zip(ids, full):
      row[: len(piece)] = piece
    episodes, turns = np.asarray(episodes, np.int32), np.asarray(turns, np.int32)
    given = read, written, ids, lengths, episodes, turns
    if self._own is not None:
      given = self._own.to_devices(given)
    with self._on_mesh():
      cache, replies = decode.turn(
        self._models[slots.model], slots.cache, *given, key,
        np.float32(self.temperature), max_reply=self.max_reply, end_id=self.end_id,
        window=next(w for w in self._windows if w >= longest[1]), vocab_size=self._vocab_size,
      )  # fmt: skip
    reply = Reply(replies, self._own.from_devices if self._own is not None else jax.device_get)
    return Slots(cache, slots.model, read + written + lengths, reply), reply

  def _cache_maker(self, config: DecoderConfig) -> Callable[[], caching.Cache]:
    """Makes empty caches; on a mesh each device makes its part, for no one could hold the whole."""
    capacity = self.max_length + max(self.max_reply, self._piece_lengths[-1])
    make = functools.partial(
      caching.empty, config, self._all_slots, capacity, self.max_reply, self._dtype
    )
    if self._mesh is None:
      return make
    with self._on_mesh():
      places = layout.cache_shardings(jax.eval_shape(make), self._mesh)
    return jax.jit(make, out_shardings=places)

  def _carried_over(self, slots: Slots, fresh: np.ndarray):
    """Columns read and written, and the last sampled ids, of the conversations that go on."""
    if slots.reply is None:
      zeros = np.zeros(self.slots, np.int32)
      return zeros, zeros, zeros
    reply = slots.reply.fetch()
    last = reply.ids[np.arange(self.slots), np.maximum(reply.lengths - 1, 0)]
    written = np.maximum(reply.lengths - 1, 0)
    keep = ~fresh
    return (slots.read * keep).astype(np.int32), (written * keep).astype(np.int32), last

  def _with_last(self, piece, last: int, fresh: bool) -> list[int]:
    if piece is None:
      return []
    return list(piece) if fresh else [int(last), *piece]

  def _on_mesh(self):
    return contextlib.nullcontext() if self._mesh is None else jax.set_mesh(self._mesh)

  def _check_room(self, longest: int, total: int) -> None:
    if longest > self._piece_lengths[-1]:
      raise ValueError(
        f"A turn's observation has {longest} tokens, but the largest piece length is"
        f" {self._piece_lengths[-1]}: add a larger one to policy.piece_lengths."
      )
    if total + self.max_reply > self.max_length:
      raise ValueError(
        f"A conversation of {total} tokens leaves no room for a reply of"
        f" {self.max_reply} within max_length {self.max_length}: end the episode first."
      )
