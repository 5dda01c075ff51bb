"""Stops a run on SIGTERM, which a preempted machine sends, or on Ctrl-C.

The run stops at the next turn, on all hosts together. It loses only the episodes in progress,
which it plays again, identically, when it is resumed.
"""

from collections.abc import Callable, Iterator
import contextlib
import os
import signal
import threading

from empg_jax import console

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(Exception):
  """The run was asked to stop; the episodes in progress are dropped."""


@contextlib.contextmanager
def listening() -> Iterator[Callable[[], bool]]:
  """Yields a function that returns whether SIGTERM or Ctrl-C has asked this process to stop.

  The signal has no other effect; a second Ctrl-C ends the process at once, with exit code 130.
  Enter it in the main thread, after JAX has joined the hosts: JAX's preemption service handles
  SIGTERM too, and the last handler installed gets it.
  """
  asked = threading.Event()
  reading, writing = os.pipe()
  os.set_blocking(writing, False)
  # A Python signal handler runs only after the current compilation or program; a thread woken
  # by the signal's file descriptor runs at once.
  listener = threading.Thread(target=_listen, args=(reading, asked), daemon=True)
  listener.start()
  woken = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
  before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
  try:
    yield asked.is_set
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
    signal.set_wakeup_fd(woken)
    os.close(writing)
    listener.join()
    os.close(reading)


def _listen(reading: int, asked: threading.Event) -> None:
  while number := os.read(reading, 1):
    if number[0] not in _SIGNALS:
      continue
    if asked.is_set() and number[0] == signal.SIGINT:
      os._exit(130)
    if not asked.is_set():
      name = signal.Signals(number[0]).name
      console.warn(f"asked to stop ({name}): saving first; Ctrl-C now ends at once")
    asked.set()
