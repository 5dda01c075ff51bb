"""Standard output and error for any text and for readers that close the pipe early."""

from collections.abc import Iterator
import contextlib
import io
import os
import select
import sys

_GONE = 141  # a shell's exit code for a process that SIGPIPE ends


@contextlib.contextmanager
def for_any_reader() -> Iterator[None]:
  """In `with`, prints characters that the encoding lacks as escapes.

  When the reader of a pipe has closed it, as `head -1` does, the process ends silently with exit
  code 141, or with its own exit code if that is an error's.
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
    if not _give_up_pipes():  # another pipe broke
      raise
    sys.exit(_GONE)
  if _give_up_pipes() and not (ended and ended.code):
    sys.exit(_GONE)
  if ended:
    raise ended


def _give_up_pipes() -> bool:
  """Redirects streams whose reader has left to os.devnull; returns whether there are any."""
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
  """Whether the reader has left: POLLERR on a pipe, POLLHUP on a socket, even before a write."""
  waiting = select.poll()
  try:
    waiting.register(stream.fileno(), 0)
  except (OSError, ValueError):  # not a file, or closed
    return False
  return any(event & (select.POLLERR | select.POLLHUP) for _, event in waiting.poll(0))
