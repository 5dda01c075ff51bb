"""How a run stops when it is asked to: at the next turn, on all hosts together, and exactly.

SIGTERM, which a preempted machine sends, or Ctrl-C. Nothing that a stopped run did is lost but
the episodes that it was playing, which it plays again, just so, when it goes on.
"""

from collections.abc import Callable, Iterator
import contextlib
import os
import signal
import threading

from empg_jax import console

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(Exception):
  """A run was asked to stop, and what it was playing is given up."""


@contextlib.contextmanager
def listening() -> Iterator[Callable[[], bool]]:
  """Yields a function that tells whether this process was asked to stop, by SIGTERM or Ctrl-C.

  Asking changes nothing else; another Ctrl-C ends the process at once, with exit code 130.
  To be entered in the main thread, and after JAX has joined the hosts: its preemption service
  takes SIGTERM too, and the last one has it.
  """
  asked = threading.Event()
  reading, writing = os.pipe()
  os.set_blocking(writing, False)
  # A handler of Python waits for the program that is compiled or run just now; a thread that
  # is woken by the signal itself does not.
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
