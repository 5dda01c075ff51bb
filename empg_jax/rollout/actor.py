"""The host-side actor: plays episodes in lockstep slots, in two halves.

While one half's environments step in Python, the other half decodes on the device:
a half fetches its replies, steps its environments and dispatches its next turn, all
while the other half's turn is already queued on the device. A slot whose episode
has ended takes the next one of the queue, or stays idle once the queue is empty.
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


@runtime_checkable
class Policy(Protocol):
  """What the actor needs of a policy; generation.policy.Policy is one."""

  slots: int  # of this host
  max_length: int
  max_reply: int

  def start(self, half: int = 0) -> Any:
    """The device state of `slots` empty slots, for the first half or the second."""

  def act(
    self,
    slots: Any,
    pieces: list[list[int] | None],
    episodes: list[int],
    turns: list[int],
    key: PRNGKeyArray,
    *,
    anew: bool = False,
  ) -> tuple[Any, Any | None]:
    """Appends each slot's piece and samples its reply, without waiting for either.

    Conversations begin at turn 0, or at every turn if `anew`. No reply: no slot has a piece,
    on no host.
    """


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
  samples depends on the key, its task and its place in the list, not on the number
  of slots (`policy.slots` in each half) or hosts, nor on the slot that it got. `make_env` is
  called once a slot; its environments are reused, and closed at the end.

  An episode ends when the environment is done, after `max_turns` turns ("turns"), or
  when its next turn would not fit into the context or be read at once ("length"). One whose
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
  make_seat = functools.partial(
    Seat, chat, make_env, max_length=policy.max_length, max_reply=policy.max_reply,
    max_turns=max_turns, invalid_penalty=invalid_penalty, prompt=prompt,
    max_piece=getattr(policy, "max_piece", None),  # of a policy that reads in buckets
  )  # fmt: skip
  with contextlib.ExitStack() as stack:
    seats = [
      stack.enter_context(contextlib.closing(make_seat()))
      for _ in range(min(len(queue), 2 * policy.slots))
    ]
    # As few halves as hold the episodes: a half costs the same full or near empty.
    halves = [
      _Half(policy, half, seats[first : first + policy.slots], group_size, key, anew=bool(prompt))
      for half, first in enumerate((0, policy.slots)[: -(-count // sum(slots))])
    ]
    for ended in _play(halves, queue, asked_to_stop):
      before = len(finished)
      finished += ended
      if progress is not None:
        progress(count * len(finished) // len(own) - count * before // len(own))
  finished = shares.gather(finished)
  _check_some_played(finished)
  return finished


def _play(
  halves: Sequence["_Half"], queue: collections.deque, asked_to_stop: Callable[[], bool]
) -> Iterator[list[Episode]]:
  """What has ended, whenever something has, until all has."""
  while running := [half for half in halves if half.running]:
    if hosts.gather(np.asarray([asked_to_stop()], np.int32)).any():
      raise Stopped
    for half in running:
      if ended := half.advance(queue):
        yield ended


class _Half:
  """Half of the slots: their seats, and the reply that the device is working on."""

  def __init__(
    self,
    policy: Policy,
    half: int,
    seats: list[Seat],
    group_size: int,
    key: PRNGKeyArray,
    *,
    anew: bool,
  ):
    self._policy = policy
    self._seats = seats
    self._group_size = group_size
    self._key = key
    self._anew = anew
    self._slots = policy.start(half)
    self._reply: Any = None
    self.running = True

  def advance(self, queue: collections.deque) -> list[Episode]:
    """Plays the replies, refills the seats, dispatches the next turn; what has ended."""
    ended = [] if self._reply is None else self._answer()
    while queue and (free := self._slots_that(play=False)):
      begun = free[: len(queue)]
      for slot in begun:
        self._seats[slot].begin(*queue.popleft())
      ended += self._wait(begun, Seat.opened)
    self._dispatch()
    self.running = self._reply is not None
    if not self.running:
      self._slots = None  # Lets go of the cache.
    return ended

  def _slots_that(self, *, play: bool) -> list[int]:
    return [slot for slot, seat in enumerate(self._seats) if (seat.piece is not None) == play]

  def _answer(self) -> list[Episode]:
    """Hands each running episode its reply, and waits for them if need be."""
    host = self._reply.fetch()
    playing = self._slots_that(play=True)
    for slot in playing:
      own = slot, slice(0, int(host.lengths[slot]))
      self._seats[slot].reply(host.ids[own], host.logprobs[own], host.entropy[own])
    return self._wait(playing, Seat.answered)

  def _wait(self, slots: list[int], hear: Callable[[Seat], Episode | None]) -> list[Episode]:
    """Waits for these seats' environments; what has ended."""
    heard = [hear(self._seats[slot]) for slot in slots]
    return [episode for episode in heard if episode is not None]

  def _dispatch(self) -> None:
    pieces: list[list[int] | None] = [None] * self._policy.slots
    episodes = [0] * self._policy.slots
    turns = [0] * self._policy.slots
    for slot, seat in enumerate(self._seats):
      if seat.piece is not None:
        pieces[slot] = seat.piece
        episodes[slot] = seat.group * self._group_size + seat.index
        turns[slot] = len(seat.turns)
    self._slots, self._reply = self._policy.act(
      self._slots, pieces, episodes, turns, self._key, anew=self._anew
    )


def _check_some_played(episodes: list[Episode]) -> None:
  if episodes and all(episode.ended == "aborted" for episode in episodes):
    raise RuntimeError(
      f"No episode of {len(episodes)} was played, since each was aborted; the first,"
      f" of task {episodes[0].task}, ended with: {episodes[0].info['error']}"
    )
