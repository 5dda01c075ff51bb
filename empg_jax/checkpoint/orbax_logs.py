"""Silences the hundreds of lines that Orbax and tensorstore print for a failed save.

Checkpointer raises every error of a save, so nothing is lost.
"""

import functools
import logging as records
import sys
import traceback
from typing import Any

from absl import logging


@functools.cache
def silence() -> None:
  """From now on only Checkpointer reports a failed save, except with `--verbosity=1`."""
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
  """Whether the record is from Orbax, or from asyncio for an abandoned write of Orbax."""
  frames = traceback.extract_tb(record.exc_info[2]) if record.name == "asyncio" else ()
  return any("orbax" in path for path in (record.pathname, *(frame.filename for frame in frames)))


def _is_of_a_closed_loop(error: BaseException | None) -> bool:
  """Whether tensorstore answered after Orbax had closed its loop at the first error."""
  return isinstance(error, RuntimeError) and str(error) == "Event loop is closed"
