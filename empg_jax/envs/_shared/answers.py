"""Calls an environment and checks its answers; all players of environments use these functions.

Environments are other people's code. An answer that does not have the form of `Env` raises a Fault
of the kind "garbage", which names the environment, and aborts that episode alone.
"""

from collections.abc import Callable, Mapping
import json
import math
from typing import Any

from empg_jax.envs import Env, Fault, Step

_MOST = 1e15  # of a reward, so that its square is finite in float32
_SHOWN = 80  # characters of an answer in a message
_LONGEST = 1000  # characters of an error's message


def try_out(make: Callable[[], Env]) -> None:
  """Makes an environment and closes it, to check that it works, and to load it.

  Raises:
    TypeError: the result is no Env. Errors of the environment propagate.
  """
  env = make()
  if not isinstance(env, Env):
    raise TypeError(f"make returned {env!r:.80}, which lacks one of reset, step and close")
  env.close()


def reset(env: Env, task: str) -> str:
  """The first observation of `task`.

  Raises:
    Fault: it is no text. Errors of the environment propagate.
  """
  return first_observation(env.reset(task), _name(env))


def step(env: Env, action: str) -> Step:
  """The environment's answer to an action, with only plain values in it.

  Raises:
    Fault: it is no Step. Errors of the environment propagate.
  """
  return whole_step(env.step(action), _name(env))


def first_observation(answer: Any, name: str) -> str:
  """Checks the answer to a reset; raises Fault. `name` is the environment's, for the message."""
  if not isinstance(answer, str):
    raise _garbage(name, "reset", answer, "want the first observation alone, a str")
  return _text(answer, name, "reset")


def prompt(answer: Any) -> str:
  """Checks the result of an environment's `prompt`; raises Fault if it is no text."""
  if not isinstance(answer, str):
    raise _garbage("the environment", "prompt", answer, "want a str")
  return _text(answer, "the environment", "prompt")


def whole_step(answer: Any, name: str) -> Step:
  """Checks the answer to a step; raises Fault. `name` is the environment's, for the message.

  The info is converted as for JSON: NumPy's numbers and arrays become Python's numbers and lists,
  a number that is not finite None, and an integer beyond 64 bits a float.
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
  """`error` itself if it is a Fault, else a Fault of the kind "error" with its class and message.

  The message is printable and short.
  """
  if isinstance(error, Fault):
    return error
  try:
    text = f"{type(error).__name__}: {error}"
  except Exception:  # Its own __str__ fails.
    text = f"{type(error).__name__}, whose message cannot be read"
  return Fault("error", text[:_LONGEST].encode("utf-8", "backslashreplace").decode())


def cause(error: BaseException) -> dict[str, str]:
  """The info of an episode that `error` aborted: "error" as text, and "fault", its kind."""
  found = fault(error)
  text = str(found) if found.kind == "error" else f"{found.kind}: {found}"
  return {"error": text, "fault": found.kind}


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
