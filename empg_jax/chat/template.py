"""What a chat template puts around observations and replies, found by rendering probes."""

from collections.abc import Callable, Sequence
import dataclasses

Message = dict[str, str]

# Texts that occur in no template, and replies in the agent's form.
_OBSERVATIONS = ("observation-zq1", "observation-zq2", "observation-zq3")
_REPLIES = ("reply-zq1", "reply-zq2")
_THINKING = tuple(f"<think>thought</think><action>{reply}</action>" for reply in _REPLIES)


@dataclasses.dataclass(frozen=True)
class Pieces:
  """A conversation is before O after R between O after R between O after ..."""

  before: str
  """Everything before the first observation, the instructions included."""
  after: str
  """Between an observation and the reply to it."""
  between: str
  """Between a reply and the next observation; the end of the reply's turn comes first."""
  strips: bool
  """Whether the template strips blanks from both ends of an observation."""
  grows: bool
  """Whether the rendered conversation is its pieces, one after another.

  If not, the template rewrites earlier turns: it removes their thinking, for instance.
  """
  system: bool
  """Whether the instructions are a system message; if not, they begin the first observation."""


def find(render: Callable[[list[Message]], str], instructions: str = "") -> Pieces:
  """Renders conversations of one, two and three observations and compares them.

  Args:
    render: applies the template to messages, ready for the assistant's next reply.
    instructions: the text of the system message; empty for none. Where the template rejects or
      omits a system message, they come before the first observation.

  Raises:
    ValueError: the template renders later turns differently from the first one; the message
      continues "The chat template of ...".
  """
  if _has_system(render, instructions):
    return _find(render, instructions)
  pieces = _find(render, "")
  text = (instructions.lstrip() if pieces.strips else instructions) + "\n\n"
  return dataclasses.replace(pieces, before=pieces.before + text, system=False)


def _has_system(render: Callable[[list[Message]], str], instructions: str) -> bool:
  """Whether the template shows a system message, or there is none to show."""
  try:
    rendered = render(_messages(instructions, _OBSERVATIONS[:1], ()))
  except ValueError:
    return not instructions
  return instructions.strip() in rendered


def _find(render: Callable[[list[Message]], str], instructions: str) -> Pieces:
  first, second, third = _OBSERVATIONS
  rendered = lambda observations, replies=(): render(_messages(instructions, observations, replies))
  opening = rendered([first])
  before, after = _around(opening, first)
  padded = rendered([f" {first} "])
  if padded not in (f"{before} {first} {after}", opening):
    raise ValueError("changes the text of observations: use one that leaves it as it is")
  longer = rendered([first, second], _REPLIES[:1])
  _, rest = _around(longer, _REPLIES[0])
  between, end = _around(rest, second)
  if end != after:
    raise ValueError(
      "renders later turns differently from the first one: use one that renders all alike"
    )
  whole = before + first
  for reply, observation in zip(_THINKING, (second, third)):
    whole += after + reply + between + observation
  whole += after
  return Pieces(
    before=before,
    after=after,
    between=between,
    strips=padded == opening,
    grows=rendered(_OBSERVATIONS, _THINKING) == whole,
    system=True,
  )


def _messages(
  instructions: str, observations: Sequence[str], replies: Sequence[str]
) -> list[Message]:
  messages = [{"role": "system", "content": instructions}] if instructions else []
  for i, observation in enumerate(observations):
    messages.append({"role": "user", "content": observation})
    if i < len(replies):
      messages.append({"role": "assistant", "content": replies[i]})
  return messages


def _around(text: str, part: str) -> tuple[str, str]:
  if text.count(part) != 1:
    raise ValueError("does not show each observation and reply once: use one that does")
  before, _, after = text.partition(part)
  return before, after
