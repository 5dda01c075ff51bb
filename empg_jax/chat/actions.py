"""The action inside a reply: <think>thought</think><action>command</action>."""

import re
from typing import NamedTuple

NO_ACTION, NO_THINK, CJK = "no_action", "no_think", "cjk"
FAULTS = (NO_ACTION, NO_THINK, CJK)

_CJK = re.compile("[\u4e00-\u9fff]")


class Rules(NamedTuple):
  """Which replies hold an action; the defaults are verl-agent's for ALFWorld and WebShop."""

  think: bool = True
  """Whether a reply needs both think tags."""
  lower: bool = True
  """Whether the action is lower-cased."""
  cjk: bool = False
  """Whether a reply may hold Chinese characters, which multilingual models tend to produce."""


def action(text: str, rules: Rules = Rules()) -> str | None:
  """The first <action> block of a reply outside of its thoughts; None if the reply has a fault."""
  if fault(text, rules):
    return None
  command, _ = _command(text)
  return command.lower() if rules.lower else command


def fault(text: str, rules: Rules = Rules()) -> str | None:
  """Why a reply is invalid: the first of FAULTS that applies, else None.

  no_action: outside of its thoughts it has no <action> block, or an empty one; no_think: it lacks
  one of the think tags, or the block is in a thought that does not end; cjk: it has Chinese
  characters.
  """
  command, thinking = _command(text)
  if not command:
    return NO_ACTION
  if thinking or (rules.think and not ("<think>" in text and "</think>" in text)):
    return NO_THINK
  return CJK if not rules.cjk and _CJK.search(text) else None


def _command(text: str) -> tuple[str, bool]:
  """The content of the first <action> block outside of thoughts, and whether a thought is open.

  The content is empty if there is no such block. Think tags inside a block are text.
  """
  at = 0
  while True:
    start = text.find("<action>", at)
    thought = text.find("<think>", at, max(start, 0))
    at = text.find("</think>", thought)
    if thought < 0 or at < 0:
      break
  end = text.find("</action>", start)
  command = text[start + len("<action>") : end].strip() if 0 <= start < end else ""
  return command, thought >= 0
