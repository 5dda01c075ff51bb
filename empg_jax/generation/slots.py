"""Slots: conversations that are decoded together, each at its own place in its own turn."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from empg_jax.distributed import hosts
from empg_jax.generation.usage import Clock, Usage
from empg_jax.generation.write import Turn, Written


class Reply(NamedTuple):
  """A whole reply: ids int32 [n], the log-probability and the entropy of each, float32 [n]."""

  slot: int
  ids: np.ndarray
  logprobs: np.ndarray
  entropy: np.ndarray


class Programs(NamedTuple):
  """What slots run on their device or mesh, and the sizes that it takes."""

  read: Callable  # (cache, pieces, counts, lengths, like, passes, longest) -> cache, lengths
  write: Callable  # (cache, Turn, longest) -> cache, Written
  fetch: Callable[[Written], Sequence[np.ndarray]]
  shards: np.ndarray  # [slots] the group of rows, divided over the mesh, that each belongs to
  places: np.ndarray  # [slots] its place there
  shard_count: int
  rows: int  # slots of a shard that read at a time
  piece_lengths: tuple[int, ...]
  tokens: int  # that a slot writes at a time
  end_id: int
  max_reply: int
  max_length: int


class _Group(NamedTuple):
  """Pieces of about one length; arrays of all slots."""

  length: int
  counts: np.ndarray  # of ids that each slot reads
  like: np.ndarray  # the slot that reads the same


class Slots:
  """A number of conversations, their cache on the device, and where each of them is.

  A piece is given to a slot (`read`) whenever its conversation has one. `run` then has the
  device read what has been given and write a few tokens for every slot whose reply is under
  way; `ended` waits for these, and returns the replies that are whole.

  On several hosts each has its own part of the slots. All run the same programs at the same
  time: they call `run` as often, and agree in it on what there is to do.
  """

  def __init__(self, programs: Programs, cache: Any, usage: Usage):
    self._programs, self.cache, self._usage = programs, cache, usage
    self._clock = Clock(usage)
    count = len(programs.shards)
    zeros = lambda: np.zeros(count, np.int32)
    self._lengths, self._last, self._index = zeros(), zeros(), zeros()
    self._episodes, self._turns, self._left = zeros(), zeros(), zeros()
    self._most = zeros()  # tokens that a reply may have
    self._unread: list[list[int]] = [[] for _ in range(count)]
    self._begins = np.zeros(count, bool)  # has read nothing but a part of its first piece
    self._parts: list[list[tuple[np.ndarray, ...]] | None] = [None] * count  # of replies
    self._written: Written | None = None

  def read(
    self,
    slot: int,
    piece: Sequence[int],
    episode: int,
    turn: int,
    *,
    anew: bool = False,
    most: int | None = None,
  ) -> None:
    """Gives a slot ids to read, and a reply to write after them.

    Args:
      slot: one whose reply has ended, or that had none.
      piece: at least one id.
      episode: a number of the conversation, which with the turn and the key decides what is
        sampled.
      turn: 0 begins a new conversation.
      anew: whether this turn begins one, too.
      most: tokens of the reply, if these are fewer than others may have.

    Raises:
      ValueError: there is no room for the piece and a reply.
    """
    if turn == 0 or anew:
      self._lengths[slot] = 0
      ids, self._begins[slot] = list(piece), True
    else:  # The keys and values of the last sampled id are not in the cache yet.
      ids, self._begins[slot] = [int(self._last[slot]), *piece], False
    total = int(self._lengths[slot]) + len(ids)
    if total + self._programs.max_reply > self._programs.max_length:
      raise ValueError(
        f"A conversation of {total} tokens leaves no room for a reply of"
        f" {self._programs.max_reply} within max_length {self._programs.max_length}: end the"
        " episode first."
      )
    self._unread[slot], self._last[slot] = ids[:-1], ids[-1]
    self._episodes[slot], self._turns[slot], self._index[slot] = episode, turn, 0
    self._most[slot] = min(most or self._programs.max_reply, self._programs.max_reply)
    self._parts[slot] = []

  def run(self) -> bool:
    """Has the device read and write, without waiting; False if no host has anything to do."""
    groups = self._groups()
    passes, longest = self._agree(groups)
    read = [
      self._read(group, passes[i], longest[i])
      for i, group in enumerate(groups)
      if passes[i]
    ]  # fmt: skip
    if longest[-1]:
      self._write(longest[-1])
    if read or longest[-1]:
      self._clock.watch(read, self._written)
    return bool(read or longest[-1])

  def ended(self) -> list[Reply]:
    """The replies that have ended, once what `run` began is done."""
    if self._written is None:
      return []
    *written, steps = self._programs.fetch(self._written)
    self._written = None
    ids, counts, *_ = written
    self._usage.tokens += int(counts.sum())
    self._usage.slot_steps += int(steps.sum())
    writing = np.flatnonzero(self._left).tolist()
    return [reply for slot in writing if (reply := self._take(slot, *written))]

  def _take(self, slot: int, ids, counts, logprobs, entropy) -> Reply | None:
    """Adds to a slot's reply what it has written; the reply if it has ended."""
    n = int(counts[slot])
    self._parts[slot].append(tuple(x[slot, :n] for x in (ids, logprobs, entropy)))
    self._last[slot] = ids[slot, n - 1]
    self._lengths[slot] += n
    self._index[slot] += n
    if self._last[slot] != self._programs.end_id and self._index[slot] < self._most[slot]:
      return None
    parts, self._parts[slot] = self._parts[slot], None
    return Reply(slot, *map(np.concatenate, zip(*parts)))

  def _groups(self) -> list[_Group]:
    """For each length of a piece, how much of it each slot reads next.

    That depends on what the slot has to read alone, and so does all that is computed of it.
    """
    lengths = self._programs.piece_lengths
    unread = np.asarray([len(ids) for ids in self._unread], np.int32)
    next_read = np.minimum(unread, lengths[-1])
    groups = []
    for less, length in zip((0, *lengths), lengths):
      counts = np.where((next_read > less) & (next_read <= length), next_read, 0)
      groups.append(_Group(length, counts, self._like(counts)))
    return groups

  def _like(self, counts: np.ndarray) -> np.ndarray:
    """For each slot the first one of its shard that reads the same prompt at the same time."""
    first, like = {}, np.arange(len(counts))
    for slot in np.flatnonzero(counts).tolist():
      if self._begins[slot]:
        prompt = self._programs.shards[slot], self._lengths[slot], tuple(self._unread[slot])
        like[slot] = first.setdefault(prompt, slot)
    return like

  def _agree(self, groups: Sequence[_Group]) -> tuple[list[int], list[int]]:
    """What all hosts are going to do: for each group of pieces, and then for the replies.

    Returns the passes over the slots that reading takes, and the most columns that a slot has
    filled, of those that read; at last, of those that write, one more, or 0 if none does.
    """
    p, lengths = self._programs, self._lengths
    filled, counts = [], []
    for group in groups:
      filled.append(int(lengths[group.counts > 0].max(initial=0)))
      reads = (group.counts > 0) & (group.like == np.arange(len(lengths)))
      counts.append(np.bincount(p.shards[reads], minlength=p.shard_count))
    read = sum(group.counts for group in groups)
    unread = np.asarray([len(ids) for ids in self._unread]) - read
    begun = np.asarray([parts is not None for parts in self._parts])
    writes = begun & (unread == 0)
    left = np.where(writes, np.minimum(p.tokens, self._most - self._index), 0)
    self._left = left.astype(np.int32)
    filled.append(int((lengths + read)[writes].max(initial=-1)) + 1)
    told = hosts.gather(np.concatenate([filled, *counts]).astype(np.int32))
    most = told[:, : len(filled)].max(axis=0).tolist()
    slots = told[:, len(filled) :].sum(axis=0).reshape(len(groups), -1).max(axis=1)
    return [-(-n // p.rows) for n in slots.tolist()], most

  def _read(self, group: _Group, passes: int, longest: int) -> Any:
    ids = np.zeros((len(group.counts), group.length), np.int32)
    for slot in np.flatnonzero(group.counts):
      n = group.counts[slot]
      ids[slot, :n], self._unread[slot] = self._unread[slot][:n], self._unread[slot][n:]
    counts, like = (x.astype(np.int32) for x in (group.counts, self._programs.places[group.like]))
    given = ids, counts, self._lengths, like
    self.cache, done = self._programs.read(self.cache, *given, passes, longest)
    self._lengths = self._lengths + counts
    return done

  def _write(self, longest: int) -> None:
    turn = Turn(
      self._last, self._lengths, self._index, self._left, self._episodes, self._turns
    )  # fmt: skip
    copied = Turn(*[x.copy() for x in turn])  # The device may read them later.
    self.cache, self._written = self._programs.write(self.cache, copied, longest - 1)
