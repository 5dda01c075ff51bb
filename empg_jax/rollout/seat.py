"""One slot of the actor: an environment and the episode being played in it."""

from collections.abc import Callable, Sequence
import contextlib
from typing import Protocol, runtime_checkable

import numpy as np

from empg_jax.envs import Env, Remote
from empg_jax.envs._shared import answers
from empg_jax.types import Episode, Turn

# What the agent reads after a reply that holds no action; the environment, which
# knows only commands, is not asked.
NO_ACTION = "Nothing happens. Reply with <think>thought</think><action>command</action>."


# (first observation, turns so far as (observation, action), observation) -> what is read.
Prompt = Callable[[str, Sequence[tuple[str, str | None]], str], str]


@runtime_checkable
class Chat(Protocol):
  """What a seat needs of a chat template; chat.Chat is one."""

  end_id: int

  def opening(self, observation: str) -> list[int]: ...

  def following(self, observation: str, ended: bool) -> list[int]: ...

  def text(self, ids: Sequence[int]) -> str: ...

  def action(self, text: str) -> str | None: ...


def next_piece(
  chat: Chat, prompt: Prompt | None, turns: Sequence[Turn], observation: str
) -> list[int]:
  """The ids that are read after one turn or more: the conversation's next, or another's first.

  Args:
    chat: the template.
    prompt: what makes each turn a conversation of its own; None: there is one.
    turns: so far.
    observation: the answer to the last of them.

  Raises:
    Fault: what `prompt` returns is no text. What it raises propagates.
  """
  if prompt is None:
    return chat.following(observation, ended=bool(turns[-1].reply[-1] == chat.end_id))
  past = [(turn.observation, turn.action) for turn in turns]
  return chat.opening(answers.prompt(prompt(turns[0].observation, past, observation)))


class Seat:
  """Plays one episode after another in one environment, a turn at a time.

  `piece` holds the ids that the policy reads before the next reply, or None while
  no episode is running. `begin` and `reply` only hand over what is to be played, so that
  environments that work elsewhere work at the same time; `hear` waits for the answer, and
  returns the episode once it has ended. With `prompt` each turn is a conversation of its own.
  An error of the environment ends the episode as `aborted`, with info["error"] in words and
  info["fault"], one of envs.FAULTS; the next episode gets a new environment.
  """

  def __init__(
    self,
    chat: Chat,
    make_env: Callable[[], Env],
    *,
    max_length: int,
    max_reply: int,
    max_turns: int,
    invalid_penalty: float,
    prompt: Prompt | None = None,
  ):
    self.piece: list[int] | None = None
    self.group = self.index = 0
    self.turns: list[Turn] = []
    self._chat = chat
    self._make_env = make_env
    self._room = max_length - max_reply
    self._max_turns = max_turns
    self._penalty = invalid_penalty
    self._prompt = prompt
    self._env: Env | None = None
    self._failed: BaseException | None = None  # when it was made or asked

  def begin(self, task: str, group: int, index: int) -> None:
    """Starts an episode, which `hear` has to follow."""
    self.group, self.index, self.turns = group, index, []
    self._task, self._length, self._info = task, 0, {}
    self._hear = self._opened
    self._ask("reset", task)

  def ready(self, most_s: float = 0.0) -> bool:
    """Whether `hear` has not to wait; waits so many seconds for news, if it would."""
    if not self._asks or self._failed is not None or not isinstance(self._env, Remote):
      return True
    try:
      return self._env.ready(most_s)
    except (Exception, SystemExit):  # The call itself raises, too.
      return True

  def hear(self) -> Episode | None:
    """Waits for what the environment says to what was begun last; the episode if it has ended."""
    return self._hear()

  def _opened(self) -> Episode | None:
    """Reads the first observation; returns the episode only if it was aborted at once."""
    try:
      self._observation = answers.reset(self._asked(), self._task)
    except (Exception, SystemExit) as error:  # Whatever it is, the run goes on.
      return self._abort(error)
    self.piece = self._chat.opening(self._observation)
    if len(self.piece) > self._room:
      return self._end(
        "aborted",
        error=f"The first observation takes {len(self.piece)} tokens and a context has "
        f"room for {self._room} before a reply: raise max_length.",
        fault="opening",
      )
    return None

  def reply(self, ids: np.ndarray, logprobs: np.ndarray, entropy: np.ndarray) -> None:
    """Takes the reply to `piece`, which `hear` has to follow.

    Args:
      ids: int32 [n].
      logprobs, entropy: of each, float32 [n].
    """
    text = self._chat.text(ids.tolist())
    action = self._chat.action(text)
    self._reply = ids, logprobs, entropy, text, action
    self._hear, self._asks = self._answered, False
    if action is not None:
      self._ask("step", action)

  def _answered(self) -> Episode | None:
    """Plays the reply, and reads what the environment says to it."""
    ids, logprobs, entropy, text, action = self._reply
    observation, reward, done = NO_ACTION, 0.0 - self._penalty, False
    if action is not None:
      try:
        observation, reward, done, self._info = answers.step(self._asked(), action)
      except (Exception, SystemExit) as error:  # Whatever it is, the run goes on.
        return self._abort(error)
    self._record(ids, logprobs, entropy, text, action, reward)
    if done:
      return self._end("done")
    if len(self.turns) == self._max_turns:
      return self._end("turns")
    self._observation = observation
    try:
      self.piece = next_piece(self._chat, self._prompt, self.turns, observation)
    except Exception as error:  # Of the environment's prompt.
      return self._abort(error)
    if self._prompt is not None:
      self._length = 0
    if self._length + len(self.piece) > self._room:
      return self._end("length")
    return None

  def _ask(self, method: str, text: str) -> None:
    """Lets an environment that works elsewhere begin; one is made first if there is none."""
    self._failed, self._asks = None, True
    try:
      if self._env is None:
        self._env = self._make_env()
      if isinstance(self._env, Remote):
        self._env.ask(method, text)
    except (Exception, SystemExit) as error:  # Of the episode, as what the answer would raise.
      self._failed = error

  def _asked(self) -> Env:
    """The environment that `_ask` has asked; raises what it raised then."""
    if self._failed is not None:
      raise self._failed
    return self._env

  def close(self) -> None:
    """Closes the environment; an error in closing loses nothing that was played."""
    env, self._env = self._env, None
    with contextlib.suppress(Exception, SystemExit):
      if env is not None:
        env.close()

  def _record(
    self,
    ids: np.ndarray,
    logprobs: np.ndarray,
    entropy: np.ndarray,
    text: str,
    action: str | None,
    reward: float,
  ) -> None:
    self.turns.append(
      Turn(
        context=tuple(self.piece),
        reply=np.array(ids, np.int32),
        logprobs=np.array(logprobs, np.float32),
        entropy=np.array(entropy, np.float32),
        observation=self._observation,
        text=text,
        action=action,
        reward=reward,
      )
    )
    self._length += len(self.piece) + len(ids)

  def _abort(self, error: BaseException) -> Episode:
    self.close()
    return self._end("aborted", **answers.cause(error))

  def _end(self, ended: str, **info: str) -> Episode:
    self.piece = None
    return Episode(
      task=self._task,
      group=self.group,
      index=self.index,
      turns=tuple(self.turns),
      reward=sum((turn.reward for turn in self.turns), start=0.0),
      success=ended != "aborted" and bool(self._info.get("won", False)),
      ended=ended,
      info={**self._info, **info},
    )
