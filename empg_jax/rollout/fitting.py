"""Whether what a policy is going to read fits its context, looked at before a run begins."""

from collections.abc import Callable, Iterator, Sequence
import contextlib
from typing import NamedTuple

import ml_collections

from empg_jax.envs import Env
from empg_jax.envs._shared import answers
from empg_jax.rollout.seat import NO_ACTION, Chat, Prompt

_TASKS = 16  # that are looked at
_SPARE = 1.25  # for those that are not
_STEP = 64  # tokens, to which advice is rounded up


class _Look(NamedTuple):
  """What the beginning of an episode reads, in tokens."""

  first: int  # turn
  second: int  # with `prompt`, after a reply without an action: the shortest that there is
  later: int  # were all observations as long as the first
  task: str


def check(
  config: ml_collections.ConfigDict,
  chat: Chat,
  make_env: Callable[[], Env],
  tasks: Sequence[str],
  prompt: Prompt | None,
) -> None:
  """Raises ValueError if a turn with which an episode begins does not fit the context.

  An environment that fails is left to the rollout, which counts it.

  Args:
    config: of a run.
    chat: of its model.
    make_env: what makes its environment.
    tasks: those that it plays, of which some are looked at.
    prompt: what makes a turn a prompt of its own; None: none does.
  """
  room = config.policy.max_length - config.policy.max_reply
  looks = list(_looks(chat, make_env, tasks, prompt, config.rollout.window))
  longest = max(looks, key=lambda look: max(look.first, look.second), default=None)
  if longest is None or max(longest.first, longest.second) <= room:
    return
  place = "first" if longest.first > room else "second"
  wanted = int(_SPARE * max(look.later for look in looks)) + config.policy.max_reply
  length = -(-wanted // _STEP) * _STEP
  rows = (*(n for n in sorted(config.pack.lengths) if n < length), length)
  raise ValueError(
    f"The {place} turn of {longest.task} reads {getattr(longest, place)} tokens, and"
    f" config.policy.max_length {config.policy.max_length} leaves {room} before a reply: raise it,"
    f' such as --config.policy.max_length={length} --config.pack.lengths="{rows}", or take a'
    " preset that is made for such tasks."
  )


def _looks(
  chat: Chat,
  make_env: Callable[[], Env],
  tasks: Sequence[str],
  prompt: Prompt | None,
  window: int,
) -> Iterator[_Look]:
  with contextlib.closing(make_env()) as env:
    for task in tasks[:: max(len(tasks) // _TASKS, 1)][:_TASKS]:
      try:
        seen = answers.reset(env, task)
        first = second = later = len(chat.opening(seen))
        if prompt is not None:
          turns = [(seen, None)] * max(window, 1)
          second = len(chat.opening(answers.prompt(prompt(seen, turns[:1], NO_ACTION))))
          later = max(second, len(chat.opening(answers.prompt(prompt(seen, turns, seen)))))
      except (Exception, SystemExit):  # Whatever it is, the rollout reports it.
        continue
      yield _Look(first, second, later, task)
