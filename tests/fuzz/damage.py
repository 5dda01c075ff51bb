"""Damaged input, which may give a result or a one-line error for the user."""

import json

from hypothesis import strategies as st

from empg_jax.cli import command_line


def answered(call, *arguments):
  """A call's result, or None if it raises an error for the user; any other exception is a bug."""
  try:
    return call(*arguments)
  except Exception as error:
    if not command_line.is_for_the_user(error) or "\n" in str(error):
      raise
    return None


def nested(depth, opening="[", closing="]"):
  """The text of a JSON value of lists within lists."""
  return opening * depth + "1" + closing * depth


# Replacements for valid values; one with half a surrogate pair, which JSON can escape.
junk = st.one_of(
  st.none(),
  st.booleans(),
  st.sampled_from([0, -1, 10**400, 2**63, 1e308, float("nan"), float("inf"), "nan", "", "\n"]),
  st.integers(),
  st.floats(),
  st.text(st.characters(exclude_categories=[]), max_size=12),
  st.sampled_from([[], {}, [[]], [None], {"a": 1}, [{"a": []}], ["a"], [1]]),
  st.integers(1, 200).map(lambda depth: json.loads(nested(depth))),
)


@st.composite
def values(draw, whole):
  """A JSON value with one to three of its parts removed, duplicated or replaced."""
  for _ in range(draw(st.integers(1, 3))):
    whole = _changed(draw, whole)
  return whole


def _changed(draw, value):
  if not isinstance(value, (dict, list)) or not value or not draw(st.integers(0, 3)):
    return draw(junk)
  keys = list(value) if isinstance(value, dict) else range(len(value))
  key = draw(st.sampled_from(keys))
  changed = value.copy()
  match draw(st.sampled_from(["part", "part", "part", "gone", "doubled"])):
    case "part":
      changed[key] = _changed(draw, value[key])
    case "gone":
      del changed[key]
    case "doubled" if isinstance(value, list):
      changed.append(value[key])
    case _:
      changed[draw(st.text(max_size=5))] = value[key]
  return changed


@st.composite
def contents(draw, whole):
  """Bytes that are truncated or changed somewhere."""
  at = draw(st.integers(0, len(whole)))
  end = draw(st.sampled_from([at, at + 1, at + 8, len(whole)]))
  other = draw(st.one_of(st.just(b""), st.binary(max_size=9), st.just(whole[:20]),
                         st.just(b"\xff" * 8)))  # fmt: skip
  return whole[:at] + other + whole[end:]
