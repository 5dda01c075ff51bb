"""JSON as this project writes it: any reader takes it, and no number stops a run."""

import json
import math
from typing import Any


def dumps(value: Any, *, lossless: bool = False, **layout: Any) -> str:
  """Plain values as JSON; NumPy's and JAX's scalars and arrays are Python's numbers and lists.

  Args:
    value: with NaN or an infinity in it perhaps, of which JSON knows nothing: they become null.
    lossless: they become what Python's own reader takes, for text that nothing else reads.
    layout: indent, separators, sort_keys and ensure_ascii of json.dumps.

  Raises:
    TypeError: there is something in it that is no plain value.
  """
  write = lambda value: json.dumps(value, allow_nan=lossless, default=_plain, **layout)
  try:
    return write(value)
  except ValueError:  # A number, or a value that holds itself, which the next line finds again.
    return write(_with_nulls(json.loads(json.dumps(value, default=_plain))))


def _plain(value: Any) -> Any:
  if not hasattr(value, "tolist"):
    raise TypeError(f"{value!r:.80} is no plain value")
  return value.tolist()


def _with_nulls(value: Any) -> Any:
  if isinstance(value, dict):
    return {key: _with_nulls(x) for key, x in value.items()}
  if isinstance(value, list):
    return [_with_nulls(x) for x in value]
  return None if isinstance(value, float) and not math.isfinite(value) else value
