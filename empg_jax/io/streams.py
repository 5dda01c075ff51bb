"""Standard output and error for any text and any reader, also one that leaves early."""

from collections.abc import Iterator
import contextlib
import io
import os
import select
import sys

_GONE = 141  # as a shell has it for a process that SIGPIPE ends


@contextlib.contextmanager
def for_any_reader() -> Iterator[None]:
  """In `with`, prints what the encoding has no character for as its escape.

  When the reader of a pipe has left, as `head -1` does, the process ends without a word, with
  exit code 141, or with the one that it had otherwise if that is an error's.
  """
  for stream, unknown in ((sys.stdin, "replace"), (sys.stdout, "backslashreplace")):
    if isinstance(stream, io.TextIOWrapper):
      stream.reconfigure(errors=unknown)
  ended = None
  try:
    yield
  except SystemExit as end:
    ended = end
  except BrokenPipeError:
    if not _give_up_pipes():  # it was another one's
      raise
    sys.exit(_GONE)
  if _give_up_pipes() and not (ended and ended.code):
    sys.exit(_GONE)
  if ended:
    raise ended


def _give_up_pipes() -> bool:
  """Sends what is still printed nowhere, if it would be to a reader who has left."""
  gone = False
  for stream in filter(None, (sys.stdout, sys.stderr)):
    try:
      stream.flush()
      left = _reader_left(stream)
    except BrokenPipeError:
      left = True
    if left:
      with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), stream.fileno())
      gone = True
  return gone


def _reader_left(stream: io.TextIOBase) -> bool:
  """A pipe tells so by POLLERR, a socket by POLLHUP, also when nothing is written."""
  waiting = select.poll()
  try:
    waiting.register(stream.fileno(), 0)
  except (OSError, ValueError):  # it is no file, or closed
    return False
  return any(event & (select.POLLERR | select.POLLHUP) for _, event in waiting.poll(0))
