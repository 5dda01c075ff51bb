"""The action inside a reply: <think>thought</think><action>command</action>."""

import re

NO_ACTION, NO_THINK, CJK = "no_action", "no_think", "cjk"
FAULTS = (NO_ACTION, NO_THINK, CJK)

_ACTION = re.compile(r"<action>(.*?)</action>", re.DOTALL)
_CJK = re.compile("[\u4e00-\u9fff]")


def action(text: str) -> str | None:
  """The first <action> block of a reply, lower-cased; None if the reply has a fault."""
  return None if fault(text) else _command(text)


def fault(text: str) -> str | None:
  """What makes a reply invalid: the first of FAULTS that holds, else None.

  no_action: it has no <action> block with something in it; no_think: it lacks one of the
  think tags; cjk: it has Chinese characters, into which multilingual models drift.
  """
  if not _command(text):
    return NO_ACTION
  if "<think>" not in text or "</think>" not in text:
    return NO_THINK
  return CJK if _CJK.search(text) else None


def _command(text: str) -> str:
  match = _ACTION.search(text)
  return match[1].strip().lower() if match else ""
