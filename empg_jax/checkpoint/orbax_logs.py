"""What Orbax and tensorstore print of a save that fails, hundreds of lines, kept from a console.

Checkpointer raises whatever goes wrong in a save, so nothing is lost with them.
"""

import functools
import logging as records
import sys
import traceback
from typing import Any

from absl import logging


@functools.cache
def silence() -> None:
  """From now on Checkpointer alone reports a save that fails, except with `--verbosity=1`."""
  for logger in (logging.get_absl_logger(), records.getLogger("asyncio")):
    logger.addFilter(_is_shown)
  before = sys.unraisablehook

  def hook(unraisable: Any) -> None:
    if logging.vlog_is_on(1) or not _is_of_a_closed_loop(unraisable.exc_value):
      before(unraisable)

  sys.unraisablehook = hook


def _is_shown(record: records.LogRecord) -> bool:
  return logging.vlog_is_on(1) or not (record.exc_info and _is_of_orbax(record))


def _is_of_orbax(record: records.LogRecord) -> bool:
  """Whether Orbax logged it, or asyncio for a write of Orbax's that nobody waited for any more."""
  frames = traceback.extract_tb(record.exc_info[2]) if record.name == "asyncio" else ()
  return any("orbax" in path for path in (record.pathname, *(frame.filename for frame in frames)))


def _is_of_a_closed_loop(error: BaseException | None) -> bool:
  """Whether tensorstore had an answer for Orbax, which had stopped listening at the first fault."""
  return isinstance(error, RuntimeError) and str(error) == "Event loop is closed"
