"""Standard JSON for every file of a run; NaN and infinities become null."""

import json
import math
from typing import Any


def dumps(value: Any, *, lossless: bool = False, **layout: Any) -> str:
  """Plain values as JSON; NumPy and JAX scalars and arrays become numbers and lists.

  Args:
    value: NaN and infinities in it, which JSON does not have, become null.
    lossless: writes them as Python's own reader accepts them, for text that only Python reads.
    layout: indent, separators, sort_keys and ensure_ascii of json.dumps.

  Raises:
    TypeError: a part of it is not a plain value.
  """
  write = lambda value: json.dumps(value, allow_nan=lossless, default=_plain, **layout)
  try:
    return write(value)
  except ValueError:  # NaN or infinity; or a cycle, for which the next line raises again
    return write(_with_nulls(json.loads(json.dumps(value, default=_plain))))


def _plain(value: Any) -> Any:
  if not hasattr(value, "tolist"):
    raise TypeError(f"{value!r:.80} is not a plain value")
  return value.tolist()


def _with_nulls(value: Any) -> Any:
  if isinstance(value, dict):
    return {key: _with_nulls(x) for key, x in value.items()}
  if isinstance(value, list):
    return [_with_nulls(x) for x in value]
  return None if isinstance(value, float) and not math.isfinite(value) else value
