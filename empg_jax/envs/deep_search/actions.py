"""The actions: <search>words</search>, <visit>title</visit>, <answer>text</answer>."""

import re
from typing import NamedTuple

KINDS = ("search", "visit", "answer")
MAX_LENGTH = 1000  # characters of an argument; no sensible one is longer

_FORM = "<search>words</search>, <visit>title</visit> or <answer>text</answer>"
_FLAGS = re.IGNORECASE | re.ASCII  # else the old long s would be an s
_OPENING = re.compile(f"<({'|'.join(KINDS)})>", _FLAGS)
_CLOSING = {kind: re.compile(f"</{kind}>", _FLAGS) for kind in KINDS}


class Action(NamedTuple):
  """A well-formed action; its argument is stripped."""

  kind: str  # one of KINDS
  argument: str


class Malformed(NamedTuple):
  """The answer to a malformed action."""

  advice: str


def parse(text: str) -> Action | Malformed:
  """Reads the single action of `text`, wherever it is."""
  found = _blocks(text)
  if not found:
    return Malformed(f"No action was understood: write {_FORM}.")
  if len(found) > 1:
    return Malformed(f"There were {len(found)} actions: write one at a time, {_FORM}.")
  kind, argument = found[0][0], " ".join(found[0][1].split())
  if not argument:
    return Malformed(f"There was nothing between the tags of <{kind}>: write {_FORM}.")
  if len(argument) > MAX_LENGTH:
    return Malformed(
      f"{len(argument)} characters are too many for <{kind}>: write at most {MAX_LENGTH}."
    )
  return Action(kind, argument)


def _blocks(text: str) -> list[tuple[str, str]]:
  """Kind and content of each action, in time linear in the text's length."""
  blocks, at, unended = [], 0, set()
  while opening := _OPENING.search(text, at):
    kind, at = opening[1].lower(), opening.end()
    closing = None if kind in unended else _CLOSING[kind].search(text, at)
    if closing is None:
      unended.add(kind)
    else:
      blocks.append((kind, text[at : closing.start()]))
      at = closing.end()
  return blocks
