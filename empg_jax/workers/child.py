"""The program of a worker: it holds environments and plays what the pool asks for.

Both directions carry messages of four bytes that tell the length, most significant first,
and so much JSON. The first request is {"number", "module", "arguments"}, the others are
{"number", "env", "method", "text"}: `method` is reset, step or close, and an environment
is made when its number first comes up. An answer is {"number", "answer"}, or {"number",
"error", "fault"} with what the environment raised, in words, and one of envs.FAULTS.
"""

import ctypes
import fcntl
import functools
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
from typing import Any

from empg_jax.envs._shared import answers
from empg_jax.io import json_text


def main() -> None:
  """Answers one request after another until the other end of standard input closes."""
  link = _take_link()
  _end_with_parent(link, int(sys.argv[1]))
  make, envs = None, {}
  while True:
    request = json.loads(_read(link, int.from_bytes(_read(link, 4), "big")))
    answer: dict[str, Any] = {"number": request["number"]}
    try:
      if make is None:
        make = _maker(request["module"], request["arguments"])
        answer["answer"] = None
      else:
        answer["answer"] = _play(envs, make, request)
      content = json_text.dumps(answer, lossless=True).encode()
    except (Exception, SystemExit) as error:  # Whatever it is, it is the environment's.
      fault = answers.fault(error)
      answer |= {"answer": None, "error": str(fault), "fault": fault.kind}
      content = json_text.dumps(answer, lossless=True).encode()
    link.sendall(len(content).to_bytes(4, "big") + content)


def _maker(module: str, arguments: dict[str, Any]):
  """What makes an environment, after it has made one."""
  make = functools.partial(importlib.import_module(module).make, **arguments)
  answers.try_out(make)
  return make


def _play(envs: dict[int, Any], make, request: dict[str, Any]) -> Any:
  """What the environment says to one call."""
  number, method = request["env"], request["method"]
  if method == "close":
    if number in envs:
      envs.pop(number).close()
    return None
  if number not in envs:
    envs[number] = make()
  play = answers.reset if method == "reset" else answers.step
  return play(envs[number], request["text"])


def _take_link() -> socket.socket:
  """The socket that came as standard input; what environments print goes to standard error."""
  link = socket.socket(fileno=os.dup(0))
  nothing = os.open(os.devnull, os.O_RDONLY)
  os.dup2(nothing, 0)
  os.close(nothing)
  os.dup2(2, 1)
  return link


def _read(link: socket.socket, size: int) -> bytes:
  """So many bytes; ends the process if there is nobody to send them any more."""
  content = b""
  while len(content) < size:
    piece = link.recv(size - len(content))
    if not piece:
      os._exit(0)
    content += piece
  return content


def _end_with_parent(link: socket.socket, life: int) -> None:
  """Ends this process, and those that it starts, however the parent ends, whatever runs here.

  `life` is a pipe into which the parent never writes.
  """
  if sys.platform == "linux":
    # The system itself ends all of the group when the parent's end of the pipe closes, also
    # under code that never lets another thread run.
    fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(life, fcntl.F_SETFL, os.O_ASYNC)
    # And this process where another one holds that end too; 1 is PR_SET_PDEATHSIG.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
  waiting = select.poll()
  waiting.register(link, 0)  # for nothing but the other end's closing

  def end() -> None:
    waiting.poll()
    os.killpg(0, signal.SIGKILL)

  threading.Thread(target=end, daemon=True).start()


if __name__ == "__main__":
  main()
