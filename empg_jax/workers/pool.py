"""Environments in several worker processes; a fault costs only the episode that caused it.

A worker holds several environments and gets one call at a time, so the pool knows which call
ended it. A new process replaces it, and the pool replays the other episodes there: the same
actions give the same texts.
"""

import collections
from collections.abc import Mapping
import time
from typing import Any

from empg_jax.envs import Fault, Step
from empg_jax.envs._shared import answers
from empg_jax.workers import process
from empg_jax.workers.process import Unheard, Worker

_WORKER = "its worker"  # in messages
_LOOK_AGAIN_S = 0.001  # between two checks that do not wait
_MOST_ASKED = 3  # times that a call is sent to workers that end before they read it


class Session:
  """An `Env` in a worker; Pool.env makes it.

  Its methods raise Fault if the environment raised, or if its worker had to be replaced because
  of it; after the latter it can only be closed.
  """

  def __init__(self, pool: "Pool", place: "_Place", number: int):
    self._pool, self._place, self.number = pool, place, number
    self.pending: tuple[str, str] | None = None
    self.asked = 0  # how often the pending call was sent
    self.answer: dict[str, Any] | None = None
    self.fault: Fault | None = None
    self.played: list[tuple[str, str]] = []  # from the last reset on
    self.last: Any = None  # the answer to the last of them

  def ask(self, method: str, text: str) -> None:
    """Begins a call, which waits while the worker is busy with another."""
    self.pending, self.asked, self.answer = (method, text), 0, None
    if method == "reset":  # The episode before is over.
      self.played, self.last = [], None
    if self.fault is None:
      self._pool.call(self._place, self)

  def ready(self, most_s: float = 0.0) -> bool:
    """Whether what was asked has its answer; waits so many seconds for news of the workers."""
    if not self._heard() and (most_s or self._pool.unseen()):
      self._pool.look(most_s)
    return self._heard()

  def reset(self, task: str) -> str:
    return self._fetch("reset", task)

  def step(self, action: str) -> Step:
    return self._fetch("step", action)

  def close(self) -> None:
    if self in self._place.sessions:
      self._fetch("close", "")
      self._place.sessions.remove(self)

  def _fetch(self, method: str, text: str) -> Any:
    """The environment's answer to this call, which begins now if `ask` has not begun it."""
    if self.pending not in (None, (method, text)):
      self._wait()  # for the answer to an abandoned call
    if self.pending is None:
      self.ask(method, text)
    self._wait()
    if self.fault is not None:
      raise self.fault
    if "error" in self.answer:
      raise Fault(self.answer["fault"], self.answer["error"])
    return self.answer["answer"]

  def _wait(self) -> None:
    while not self._heard():
      self._pool.look()
    self.pending = None

  def _heard(self) -> bool:
    return self.fault is not None or self.answer is not None


class _Place:
  """A worker, its sessions, and the queue of their calls, the first of which was sent."""

  def __init__(self, worker: Worker):
    self.worker = worker
    self.sessions: list[Session] = []
    self.queue: collections.deque[Session] = collections.deque()


class Pool:
  """`count` workers, with the arguments of workers.environments; a context manager."""

  def __init__(
    self,
    module: str,
    arguments: Mapping[str, Any],
    count: int,
    timeout_s: float,
    memory_mib: int,
  ):
    self._start = lambda: Worker(module, arguments, memory_mib)
    self._timeout_s = timeout_s
    self._made, self._looked = 0, 0.0
    self._places = [_Place(self._start()) for _ in range(count)]
    try:
      for place in self._places:
        _ready(place.worker)
    except Fault as fault:
      self.__exit__()
      raise ValueError(f"No environment of {module} can be made in a worker: {fault}") from fault

  def env(self) -> Session:
    """Makes an environment in the worker that has the fewest."""
    place = min(self._places, key=lambda place: len(place.sessions))
    self._made += 1
    session = Session(self, place, self._made)
    place.sessions.append(session)
    return session

  def call(self, place: _Place, session: Session) -> None:
    """Sends the session's pending call, now or after the calls of others."""
    place.queue.append(session)
    if len(place.queue) == 1:
      self._hear(place)

  def unseen(self) -> bool:
    """Whether the last `look` is long enough ago for another one to be worth its cost."""
    return time.monotonic() > self._looked + _LOOK_AGAIN_S

  def look(self, most_s: float = process.LOOK_S) -> None:
    """Takes the answers that are there and sends the next calls; waits up to `most_s` seconds."""
    busy = [place for place in self._places if place.queue]
    process.wait([place.worker for place in busy], most_s)
    for place in busy:
      self._take_answer(place)
    self._looked = time.monotonic()

  def _take_answer(self, place: _Place) -> None:
    session = place.queue[0]
    try:
      answer = place.worker.answer()
      if answer is None:
        return
      session.answer = _checked(session.pending[0], answer)
    except Fault as fault:
      if not isinstance(fault, Unheard) or session.asked == _MOST_ASKED:
        self._lose(place, session, fault)
      self._replace(place)
    else:
      place.queue.popleft()
      _note(session)
      try:
        place.worker.check_memory()
      except Fault:  # The replay will show which episode needs the memory.
        self._replace(place)
    self._hear(place)

  def _hear(self, place: _Place) -> None:
    """Sends the first call of the queue."""
    if not place.worker.runs():  # It ended between two calls.
      self._replace(place)
    if place.queue:
      session = place.queue[0]
      session.asked += 1
      place.worker.send(_request(session, *session.pending), self._timeout_s)

  def _replace(self, place: _Place) -> None:
    """Starts another worker and replays all episodes there, but for those that break it."""
    while True:
      place.worker.kill()
      place.worker = self._start()
      session = None
      try:
        _ready(place.worker)
        for session in list(place.sessions):
          self._play_again(place, session)
        return
      except Fault as fault:
        for lost in [session] if session else list(place.sessions):
          self._lose(place, lost, fault)
        if session is None:  # The next call tries again.
          place.worker.kill()
          return

  def _play_again(self, place: _Place, session: Session) -> None:
    """Replays an episode; raises Fault if the worker does not survive that."""
    answer = None
    for method, text in session.played:
      place.worker.send(_request(session, method, text), self._timeout_s)
      answer = _checked(method, _await(place.worker)).get("answer")
    place.worker.check_memory(now=True)
    if answer != session.last:
      message = f"played again after another's fault, {session.played[-1]} was answered differently"
      self._lose(place, session, Fault("error", message))

  def _lose(self, place: _Place, session: Session, fault: Fault) -> None:
    session.fault = fault
    place.sessions.remove(session)
    if session in place.queue:
      place.queue.remove(session)

  def __enter__(self) -> "Pool":
    return self

  def __exit__(self, *error: object) -> None:
    for place in self._places:
      place.worker.kill()


def _request(session: Session, method: str, text: str) -> dict[str, Any]:
  return {"env": session.number, "method": method, "text": text}


def _await(worker: Worker) -> dict[str, Any]:
  """The worker's answer."""
  while (answer := worker.answer()) is None:
    process.wait([worker])
  return answer


def _ready(worker: Worker) -> None:
  """Waits until the worker has made an environment; raises Fault if it does not."""
  answer = _await(worker)
  if "error" in answer:
    raise Fault("error", str(answer["error"]))


def _checked(method: str, answer: dict[str, Any]) -> dict[str, Any]:
  """Returns the answer; raises Fault if it does not fit such a call."""
  match method, answer:
    case _, {"error": str(), "fault": "error" | "garbage"}:
      return answer
    case "close", {"answer": None}:
      return answer
    case "reset", {"answer": given}:
      return answer | {"answer": answers.first_observation(given, _WORKER)}
    case "step", {"answer": given}:
      return answer | {"answer": answers.whole_step(given, _WORKER)}
  raise Fault("garbage", f"{_WORKER} answered a {method} by {str(answer)[:80]!r}")


def _note(session: Session) -> None:
  """Records what has been played, for a replay."""
  method, _ = session.pending
  if method == "close" or "error" in session.answer:
    return
  session.played.append(session.pending)
  session.last = session.answer["answer"]
