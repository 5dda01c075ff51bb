"""A worker process as its parent sees it: messages with a deadline, and the faults it may have.

Nothing from a worker is trusted: it is read as JSON of a bounded length, and an answer counts
only if it has the number of the request.
"""

from collections.abc import Mapping, Sequence
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import psutil

from empg_jax.envs import Fault
from empg_jax.io import json_text

MAX_MESSAGE = 16 * 2**20  # bytes
_PIECE = 2**16  # bytes received at once
_START_S = 120.0  # to load the environment, which may first build an index
LOOK_S = 0.1  # between checks of how much memory a busy worker holds


class Unheard(Fault):
  """The worker ended before it read the request, so the request changed nothing."""


class Worker:
  """A process of `child`, which gets one request at a time.

  Args:
    module, arguments: the environment (`workers.environments`).
    memory_mib: how much memory the process may hold.
  """

  def __init__(self, module: str, arguments: Mapping[str, Any], memory_mib: int):
    self._link, theirs = socket.socketpair()
    life, ours = os.pipe()
    self._life = open(ours, "wb")
    with theirs, open(life, "rb"):
      self._process = subprocess.Popen(
        [sys.executable, "-P", "-m", "empg_jax.workers.child", str(life)],
        stdin=theirs,
        stdout=2,
        pass_fds=[life],
        env=_environment(),
        start_new_session=True,  # Ctrl-C reaches the parent alone
      )
    self._link.setblocking(False)
    self._memory = psutil.Process(self._process.pid).memory_info
    self._memory_mib, self._looked = memory_mib, 0.0
    self._received, self._unsent, self._number = bytearray(), b"", -1
    self.send({"module": module, "arguments": dict(arguments)}, _START_S)

  def send(self, request: dict[str, Any], timeout_s: float) -> None:
    """Sends a request, to be answered within `timeout_s` seconds and before the next request."""
    self._number += 1
    content = json_text.dumps(request | {"number": self._number}, lossless=True).encode()
    self._unsent = len(content).to_bytes(4, "big") + content
    self._timeout_s, self._deadline = timeout_s, time.monotonic() + timeout_s
    with contextlib.suppress(OSError):  # `answer` sends the rest
      self._unsent = self._unsent[self._link.send(self._unsent) :]

  def answer(self) -> dict[str, Any] | None:
    """The answer ("answer", or "error" as text) if it has arrived; never waits.

    Raises:
      Unheard: there will be none, because the worker ended before it read the request.
      Fault: there will be none.
    """
    self._exchange()
    answer = self._message()
    if answer is None:
      if time.monotonic() > self._deadline:
        waited = f"{self._timeout_s:g} second{'s' * (self._timeout_s != 1)}"
        raise Fault("hang", f"its worker gave no answer for {waited}")
      self.check_memory()
    return answer

  def check_memory(self, *, now: bool = False) -> None:
    """Raises Fault if the process holds too much memory; without `now`, checks now and then."""
    if not now and time.monotonic() < self._looked + LOOK_S:
      return
    self._looked = time.monotonic()
    with contextlib.suppress(psutil.Error):  # it has ended, which the link reports better
      held = self._memory()
      held_mib = (held.rss - getattr(held, "shared", 0)) / 2**20
      if held_mib > self._memory_mib:
        allowed = f"more than the {self._memory_mib:,} allowed"
        raise Fault("memory", f"its worker held {held_mib:,.0f} MiB, {allowed}")

  def runs(self) -> bool:
    return self._process.poll() is None

  def kill(self) -> None:
    """Ends the process and its children."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
      os.killpg(self._process.pid, signal.SIGKILL)
    self._process.wait()
    self._link.close()
    self._life.close()

  def _exchange(self) -> None:
    """Sends and receives as much as possible without waiting."""
    try:
      if self._unsent:
        self._unsent = self._unsent[self._link.send(self._unsent) :]
      while piece := self._link.recv(_PIECE):
        self._received += piece
        if len(piece) < _PIECE or len(self._received) > MAX_MESSAGE:
          return
    except BlockingIOError:
      return
    except OSError:  # The link closed before the whole request was read.
      raise Unheard("crash", f"its worker {self._ending()} before it was asked") from None
    raise Fault("crash", f"its worker {self._ending()}")

  def _ending(self) -> str:
    """How the process ended; its end of the link is closed."""
    try:
      code = self._process.wait(timeout=1)
    except subprocess.TimeoutExpired:
      return "closed its link"
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

  def _message(self) -> dict[str, Any] | None:
    """The received message, once it is complete."""
    size = int.from_bytes(self._received[:4], "big")
    if size > MAX_MESSAGE:
      raise Fault("garbage", f"its worker sent no message: {bytes(self._received[:40])!r}")
    if len(self._received) < 4 + max(size, 1):
      return None
    content, self._received = bytes(self._received[4:]), bytearray()
    try:
      answer = json.loads(content)
      if len(content) == size and answer["number"] == self._number:
        return answer
    except (ValueError, TypeError, KeyError, RecursionError):
      pass
    raise Fault("garbage", f"its worker sent no answer: {content[:40]!r}")


def wait(workers: Sequence[Worker], most_s: float = LOOK_S) -> None:
  """Waits until one of them can be read or written, or for so many seconds."""
  waiting = select.poll()
  for worker in workers:
    waiting.register(worker._link, select.POLLIN | (select.POLLOUT if worker._unsent else 0))
  waiting.poll(1000 * most_s)


def _environment() -> dict[str, str]:
  """The child imports the same modules, computes on one thread, and uses no accelerator."""
  path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
  return {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}
