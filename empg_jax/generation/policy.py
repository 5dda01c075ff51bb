"""The policy as the actor sees it: pieces of ids in, sampled replies out."""

from collections.abc import Callable, Sequence
import contextlib
import copy
import functools

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
import numpy as np

from empg_jax.distributed import sharding
from empg_jax.generation import cache as caching, layout, owners
from empg_jax.generation.read import read
from empg_jax.generation.slots import Programs, Slots
from empg_jax.generation.usage import Usage
from empg_jax.generation.write import write
from empg_jax.kernels import hardware
from empg_jax.models.decoder import Decoder, DecoderConfig


class Policy:
  """Samples replies for conversations that are decoded together, keeping their KV cache.

  Args:
    model: parameters; `update` takes newer ones.
    slots: conversations decoded together, on each device of `devices` or on all of `mesh`.
    max_length: tokens a conversation may have, replies included.
    max_reply: tokens a reply may have, its end-of-turn id included.
    end_id: the end-of-turn id.
    vocab_size: ids from this on stand for no text and are never sampled; the model may have
      more, rows that pad its vocabulary. None: all of the model's can be.
    temperature: of the sampling; 0 is greedy.
    compute_dtype: operand type of the matrix products and of the cache.
    piece_lengths: bucket sizes for what is read at a time; a longer piece is read in parts of
      the largest.
    windows: columns of the cache up to which attention looks, as far as conversations go.
    devices: each decodes slots of its own, at the same time.
    mesh: of accelerators over which the slots are divided, instead of `devices`. On several
      hosts each fills its own part of the slots (owners.givers), `self.slots` of them.
    tokens: that a slot writes before the host looks again; None: as many as the hardware likes.
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
    tokens: int | None = None,
  ):
    self.slots = slots
    self.max_length, self.max_reply = max_length, max_reply
    self.end_id, self.temperature = end_id, temperature
    padded = vocab_size is not None and vocab_size < model.config.vocab_size
    self._vocab_size = vocab_size if padded else None
    self._dtype = jnp.dtype(compute_dtype)
    self._piece_lengths = tuple(sorted(piece_lengths))
    self._windows = tuple(sorted({min(w, max_length) for w in (*windows, max_length)}))
    self._devices = tuple(devices or jax.local_devices())
    self._mesh, self._own = mesh, None
    with self._on_mesh():
      self._here = hardware.current()
    self._tokens = min(tokens or self._here.tokens, max_reply)
    if mesh is None:
      # Of as many rows a product sums up each of them in the same way.
      self._all_slots = -(-slots // self._here.rows) * self._here.rows
      self._size = self._all_slots
      self._places = np.arange(self._all_slots)
    else:
      self._all_slots = slots
      sharding.check_rows("policy.slots", slots, mesh.size, **mesh.shape)
      self._size = slots // (mesh.shape[sharding.DATA] * mesh.shape[sharding.FSDP])
      self._places = np.arange(slots)
      if jax.process_count() > 1:
        self._own = owners.HostSlots(mesh, slots, jax.process_index())
        self.slots, self._places = self._own.count, self._own.slots
      self._reshard = layout.for_decoding(mesh, model, self._dtype)
    self._rows = min(self._here.rows, self._size)
    self._usage = Usage()
    self._empty = self._cache_maker(model.config)
    self.update(model)

  @property
  def sets(self) -> int:
    """How many sets of slots play side by side: `start` takes the number of one."""
    return 1 if self._mesh is not None else len(self._devices)

  def update(self, model: Decoder) -> None:
    """Takes new parameters for the turns to come."""
    self.release()
    if self._mesh is not None:
      self._models = [self._reshard(model)]
      return
    made = layout.prepare(model, self._dtype, self._here.decode_layers)
    self._models = [jax.device_put(made, device) for device in self._devices]

  def release(self) -> None:
    """Lets the parameters go, for an update needs the room; none are there until `update`."""
    self._models = []

  def at(self, temperature: float) -> "Policy":
    """The same policy sampling at another temperature, as of now; what it does counts apart."""
    other = copy.copy(self)
    other.temperature, other._usage = temperature, Usage()
    return other

  def take_usage(self) -> Usage:
    """What slots and devices did since the last call."""
    usage, self._usage = self._usage, Usage()
    return usage

  def start(self, number: int, key: jax.Array) -> Slots:
    """Empty slots.

    Args:
      number: of the set, from 0; each has a device of its own.
      key: with a conversation's number and turn, decides what is sampled.
    """
    number %= len(self._models)
    with self._on_mesh():
      cache = self._empty()
    if self._mesh is None:
      cache = jax.device_put(cache, self._devices[number])
    programs = Programs(
      read=functools.partial(self._read, self._models[number]),
      write=functools.partial(self._write, self._models[number], key),
      fetch=jax.device_get if self._own is None else self._own.from_devices,
      shards=self._places // self._size,
      places=self._places % self._size,
      shard_count=self._all_slots // self._size,
      rows=self._rows,
      piece_lengths=self._piece_lengths,
      tokens=self._tokens,
      end_id=self.end_id,
      max_reply=self.max_reply,
      max_length=self.max_length,
    )
    return Slots(programs, cache, self._usage)

  def _read(self, model, cache, pieces, counts, lengths, like, passes: int, longest: int):
    given = self._to_devices((pieces, counts, lengths, like))
    with self._on_mesh():
      return read(
        model, cache, *given, np.int32(passes), rows=self._rows, **self._seen(longest)
      )  # fmt: skip

  def _write(self, model, key, cache, turn, longest: int):
    turn = type(turn)(*self._to_devices(turn))
    with self._on_mesh():
      return write(
        model, cache, turn, key, np.float32(self.temperature), tokens=self._tokens,
        end_id=self.end_id, vocab_size=self._vocab_size, **self._seen(longest),
      )  # fmt: skip

  def _seen(self, longest: int) -> dict:
    """The spans of the cache that hold so many columns, as the programs take them."""
    count = sum(start < longest for start, _ in caching.spans(self._windows))
    static = None if self._here.branches else count
    seen = np.int32(count if static is None else 0)
    return dict(windows=self._windows, seen=seen, spans=static)

  def _to_devices(self, arrays):
    return arrays if self._own is None else self._own.to_devices(arrays)

  def _cache_maker(self, config: DecoderConfig) -> Callable[[], caching.Cache]:
    """Makes empty caches; on a mesh each device makes its part, for no one could hold the whole."""
    spare = max(self._tokens, self._piece_lengths[-1])
    make = functools.partial(
      caching.empty, config, self._all_slots, self._windows, spare, self._dtype
    )
    if self._mesh is None:
      return make
    with self._on_mesh():
      places = layout.cache_shardings(jax.eval_shape(make), self._mesh)
    return jax.jit(make, out_shardings=places)

  def _on_mesh(self):
    return contextlib.nullcontext() if self._mesh is None else jax.set_mesh(self._mesh)
