"""Plays an environment and checks what it answers; whoever plays one, plays it through here.

Environments are other people's code. An answer of another form than `Env` wants raises a Fault of
the kind "garbage", which names the environment, and so costs one episode.
"""

from collections.abc import Callable, Mapping
import json
import math
from typing import Any

from empg_jax.envs import Env, Fault, Step

_MOST = 1e15  # of a reward, whose square the update still has in float32
_SHOWN = 80  # characters of an answer in a message
_LONGEST = 1000  # characters of an error's message


def try_out(make: Callable[[], Env]) -> None:
  """Makes an environment and closes it, so that it is known to work, and loaded.

  Raises:
    TypeError: what is made is no Env. What the environment raises propagates.
  """
  env = make()
  if not isinstance(env, Env):
    raise TypeError(f"make returned {env!r:.80}, which lacks one of reset, step and close")
  env.close()


def reset(env: Env, task: str) -> str:
  """The first observation of `task`.

  Raises:
    Fault: it is no text. What the environment raises propagates.
  """
  return first_observation(env.reset(task), _name(env))


def step(env: Env, action: str) -> Step:
  """What the environment answers to an action, with plain values alone in it.

  Raises:
    Fault: it is no Step. What the environment raises propagates.
  """
  return whole_step(env.step(action), _name(env))


def first_observation(answer: Any, name: str) -> str:
  """The answer to a reset; Fault if it is none. `name` is the environment's, for the message."""
  if not isinstance(answer, str):
    raise _garbage(name, "reset", answer, "want the first observation alone, a str")
  return _text(answer, name, "reset")


def prompt(answer: Any) -> str:
  """What an environment's `prompt` returned; Fault if it is no text."""
  if not isinstance(answer, str):
    raise _garbage("the environment", "prompt", answer, "want a str")
  return _text(answer, "the environment", "prompt")


def whole_step(answer: Any, name: str) -> Step:
  """The answer to a step; Fault if it is none. `name` is the environment's, for the message.

  The info is what JSON makes of it: NumPy's numbers and arrays are Python's numbers and lists, a
  number that is not finite is None, and a whole one beyond 64 bits a float.
  """
  match answer:
    case [str(seen), reward, done, Mapping() as info]:
      pass
    case _:
      wanted = "want Step(observation, reward, done, info), of which the first is a str"
      raise _garbage(name, "step", answer, f"{wanted} and the last a dict")
  number = _number(reward)
  if not abs(number) <= _MOST:
    raise _garbage(name, "step", reward, f"want a number up to {_MOST:g} as the reward")
  if not _is_bool(done):
    raise _garbage(name, "step", done, "want True or False as done")
  info = _plain(info, name)
  if not _is_bool(info.get("won", False)):
    raise _garbage(name, "step", info["won"], "want True or False as info['won']")
  return Step(_text(seen, name, "step"), number, bool(done), info)


def fault(error: BaseException) -> Fault:
  """The Fault that `error` is, or one of the kind "error" with its class and message.

  The message can be printed, and is not long.
  """
  if isinstance(error, Fault):
    return error
  try:
    text = f"{type(error).__name__}: {error}"
  except Exception:  # Its own __str__ fails.
    text = f"{type(error).__name__}, whose message cannot be read"
  return Fault("error", text[:_LONGEST].encode("utf-8", "backslashreplace").decode())


def cause(error: BaseException) -> dict[str, str]:
  """What the info of an episode says that `error` aborted: "error" in words, and "fault"."""
  befell = fault(error)
  said = str(befell) if befell.kind == "error" else f"{befell.kind}: {befell}"
  return {"error": said, "fault": befell.kind}


def _name(env: Env) -> str:
  return f"{type(env).__module__}.{type(env).__qualname__}"


def _garbage(name: str, method: str, answer: Any, wanted: str) -> Fault:
  try:
    shown = repr(answer)[:_SHOWN].encode("utf-8", "backslashreplace").decode()
  except Exception:  # Its own __repr__ fails.
    shown = f"a {type(answer).__name__}"
  return Fault("garbage", f"{name} answered a {method} by {shown}: {wanted}.")


def _text(text: str, name: str, method: str) -> str:
  try:
    text.encode()
  except UnicodeEncodeError as error:
    half = text[error.start]
    raise _garbage(name, method, half, "half of a surrogate pair is no text") from None
  return text


def _number(value: Any) -> float:
  """NaN if it is no number. A text is none, though `float` takes it."""
  try:
    return math.nan if isinstance(value, (str, bytes)) else float(value)
  except Exception:  # Its own __float__ may do anything.
    return math.nan


def _is_bool(value: Any) -> bool:
  """Also of NumPy's and, as a number that counts as one, 0 or 1."""
  try:
    return bool(value == True) or bool(value == False)  # noqa: E712
  except Exception:  # Arrays of several elements are neither.
    return False


def _plain(info: Mapping[str, Any], name: str) -> dict[str, Any]:
  try:
    text = json.dumps(dict(info), ensure_ascii=False, default=_listed)
    text = _text(text, name, "step")
    return json.loads(text, parse_constant=lambda _: None, parse_int=_whole)
  except Fault:
    raise
  except Exception as error:  # Nesting without end, keys and values that JSON has not.
    raise _garbage(name, "step", info, f"want plain values in info ({fault(error)})") from error


def _whole(digits: str) -> int | float:
  """An int of the 64 bits that hosts send each other; OverflowError beyond what a float holds."""
  number = int(digits)
  return number if -(2**63) <= number < 2**63 else float(number)


def _listed(value: Any) -> Any:
  if not hasattr(value, "tolist"):
    raise TypeError(f"a {type(value).__name__} is no plain value")
  return value.tolist()
