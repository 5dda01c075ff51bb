"""The host-side actor: plays episodes in slots, each at its own pace.

A slot whose reply has ended hands it to its environment at once, and reads the answer while
others go on writing. One whose episode has ended takes the next of the queue, or stays idle
once the queue is empty. Where there are several sets of slots, each on a device of its own,
the devices work while this process plays the environments of another set.
"""

import collections
from collections.abc import Callable, Iterator, Sequence
import contextlib
import functools
from typing import Any, Protocol, runtime_checkable

from jaxtyping import PRNGKeyArray
import numpy as np

from empg_jax.distributed import hosts
from empg_jax.distributed.preemption import Stopped
from empg_jax.envs import Env
from empg_jax.rollout import shares
from empg_jax.rollout.seat import Chat, Prompt, Seat
from empg_jax.types import Episode

_LOOK_S = 0.1  # to wait for environments at a time


@runtime_checkable
class Slots(Protocol):
  """Conversations that are decoded together; generation.slots.Slots are."""

  def read(
    self, slot: int, piece: Sequence[int], episode: int, turn: int, *, anew: bool = False
  ) -> None:
    """Appends ids to a slot's conversation, after which it is to reply.

    Conversations begin at turn 0, or at every turn if `anew`.
    """

  def run(self) -> bool:
    """Goes on reading and writing, without waiting; False if there is nothing to do on any host."""

  def ended(self) -> Sequence[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Waits for what `run` began: for each reply that has ended its slot, its ids, and the
    log-probabilities and entropies of these."""


@runtime_checkable
class Policy(Protocol):
  """What the actor needs of a policy; generation.policy.Policy is one."""

  slots: int  # of this host, in each set
  sets: int  # that play side by side
  max_length: int
  max_reply: int

  def start(self, number: int, key: PRNGKeyArray) -> Slots:
    """The empty slots of one set, from 0; the key decides what they sample."""


def collect(
  policy: Policy,
  chat: Chat,
  make_env: Callable[[], Env],
  tasks: Sequence[str],
  *,
  group_size: int,
  max_turns: int,
  key: PRNGKeyArray,
  invalid_penalty: float = 0.0,
  prompt: Prompt | None = None,
  progress: Callable[[int], Any] | None = None,
  asked_to_stop: Callable[[], bool] = lambda: False,
) -> list[Episode]:
  """Plays every task `group_size` times and returns the episodes, group by group.

  Ids, log-probabilities and entropies are kept exactly as sampled. What an episode
  samples depends on the key, its task and its place in the list, not on the number of slots or
  hosts, nor on the slot that it got or on which environment answers first. `make_env` is called
  once a slot; its environments are reused, and closed at the end.

  An episode ends when the environment is done, after `max_turns` turns ("turns"), or
  when its next turn would not fit into the context ("length"). One whose
  environment raised is "aborted", with info["error"] and info["fault"] (see Seat), and pack()
  leaves it out of training. Environments that are Remote work at the same time. A reply that
  holds no action costs `invalid_penalty`. With `prompt` a turn is read as a
  conversation of its own, whose only message it makes. `progress` is called with the
  number of episodes that have just ended.

  Several hosts, which all have to call this with the same arguments, play a share each, in
  environments of their own, and all return the episodes of all. A host reports its progress as
  if the others were as far.

  Raises:
    RuntimeError: every episode was aborted.
    Stopped: `asked_to_stop` said so between two turns, on any host.
  """
  count = len(tasks) * group_size
  slots = hosts.gather(np.asarray([policy.slots], np.int32))[:, 0].tolist()
  own = shares.share(count, slots, hosts.process_index())
  queue = collections.deque((tasks[i // group_size], *divmod(i, group_size)) for i in own)
  finished: list[Episode] = []
  # As few sets as hold the episodes: one costs the same full or near empty.
  number = min(policy.sets, -(-count // sum(slots)))
  places = min(len(queue), number * policy.slots)
  make_seat = functools.partial(
    Seat, chat, make_env, max_length=policy.max_length, max_reply=policy.max_reply,
    max_turns=max_turns, invalid_penalty=invalid_penalty, prompt=prompt,
  )  # fmt: skip
  with contextlib.ExitStack() as stack:
    seats = [stack.enter_context(contextlib.closing(make_seat())) for _ in range(places)]
    sets = [
      _Set(policy.start(i, key), seats[i::number], group_size, anew=bool(prompt))
      for i in range(number)
    ]
    for ended in _play(sets, queue, asked_to_stop):
      before = len(finished)
      finished += ended
      if progress is not None:
        progress(count * len(finished) // len(own) - count * before // len(own))
  finished = shares.gather(finished)
  _check_some_played(finished)
  return finished


def _play(
  sets: Sequence["_Set"], queue: collections.deque, asked_to_stop: Callable[[], bool]
) -> Iterator[list[Episode]]:
  """What has ended, whenever something has, until all has."""
  while True:
    plays = bool(queue) or any(some.plays for some in sets)
    told = hosts.gather(np.asarray([asked_to_stop(), plays], np.int32)).any(axis=0)
    if told[0]:
      raise Stopped
    if not told[1]:
      return
    runs = False
    for some in sets:
      if ended := some.advance(queue):
        yield ended
      runs |= some.runs
    if not runs:  # All that is left to do is to wait for environments.
      waiting = [seat for some in sets for seat in some.waiting]
      if waiting:
        waiting[0].ready(_LOOK_S)


class _Set:
  """Seats and the slots of a device, or of the mesh, in which their conversations are decoded."""

  def __init__(self, slots: Any, seats: Sequence[Seat], group_size: int, *, anew: bool):
    self._slots, self._seats = slots, seats
    self._group_size, self._anew = group_size, anew
    self._free = list(range(len(seats)))[::-1]
    self._waiting: list[int] = []  # for an answer
    self.runs = False  # the device, on any host

  @property
  def waiting(self) -> list[Seat]:
    """The seats whose environments have not answered yet."""
    return [self._seats[slot] for slot in self._waiting]

  @property
  def plays(self) -> bool:
    """Whether an episode is being played."""
    return len(self._free) < len(self._seats)

  def advance(self, queue: collections.deque) -> list[Episode]:
    """Hands out replies, hears answers, begins episodes, gets the device going; what has ended."""
    for slot, *reply in self._slots.ended():
      self._seats[slot].reply(*reply)
      self._waiting.append(slot)
    ended = []
    self._begin(queue)
    while answered := [slot for slot in self._waiting if self._seats[slot].ready()]:
      ended += self._hear(answered)
      self._begin(queue)
    self.runs = self._slots.run()
    return ended

  def _begin(self, queue: collections.deque) -> None:
    while queue and self._free:
      slot = self._free.pop()
      self._seats[slot].begin(*queue.popleft())
      self._waiting.append(slot)

  def _hear(self, slots: Sequence[int]) -> list[Episode]:
    """Takes the answers that are there, and has what follows them read; what has ended."""
    ended = []
    for slot in slots:
      seat = self._seats[slot]
      self._waiting.remove(slot)
      if episode := seat.hear():
        ended.append(episode)
        self._free.append(slot)
      else:
        number = seat.group * self._group_size + seat.index
        self._slots.read(slot, seat.piece, number, len(seat.turns), anew=self._anew)
    return ended


def _check_some_played(episodes: list[Episode]) -> None:
  if episodes and all(episode.ended == "aborted" for episode in episodes):
    raise RuntimeError(
      f"No episode of {len(episodes)} was played, since each was aborted; the first,"
      f" of task {episodes[0].task}, ended with: {episodes[0].info['error']}"
    )
