"""A turn as a prompt of its own: the task, the last few turns, and what is seen now."""

from collections.abc import Sequence

NO_COMMAND = "(a reply without a command)"


def windowed_prompt(
  task: str, turns: Sequence[tuple[str, str | None]], observation: str, window: int
) -> str:
  """The prompt of an agent without memory.

  Args:
    task: the task in words.
    turns: all turns so far, as (observation, action); None: the reply held no action.
    observation: the current one.
    window: how many of the last turns the prompt holds.
  """
  lines = [task, f"You have taken {len(turns)} step{'s' * (len(turns) > 1)}."]
  first = max(len(turns) - window, 0)
  for number, (seen, action) in enumerate(turns[first:], first + 1):
    lines.append(f"Step {number}, you saw: {seen}\nYour command: {action or NO_COMMAND}")
  return "\n\n".join([*lines, f"Now you see: {observation}"])
