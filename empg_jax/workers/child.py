"""The program of a worker: it holds environments and answers the pool's calls.

A message in either direction is its length in four bytes, most significant first, and JSON of
that length. The first request is {"number", "module", "arguments"}, the others are {"number",
"env", "method", "text"}: `method` is reset, step or close, and the first call with a number makes
that environment. An answer is {"number", "answer"}, or {"number", "error", "fault"} with the text
of what the environment raised, and one of envs.FAULTS.
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
    except (Exception, SystemExit) as error:  # Any error here is the environment's.
      fault = answers.fault(error)
      answer |= {"answer": None, "error": str(fault), "fault": fault.kind}
      content = json_text.dumps(answer, lossless=True).encode()
    link.sendall(len(content).to_bytes(4, "big") + content)


def _maker(module: str, arguments: dict[str, Any]):
  """A function that makes an environment; it has made one already, as a check."""
  make = functools.partial(importlib.import_module(module).make, **arguments)
  answers.try_out(make)
  return make


def _play(envs: dict[int, Any], make, request: dict[str, Any]) -> Any:
  """The environment's answer to one call."""
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
  """Takes the socket from standard input; what environments print goes to standard error."""
  link = socket.socket(fileno=os.dup(0))
  nothing = os.open(os.devnull, os.O_RDONLY)
  os.dup2(nothing, 0)
  os.close(nothing)
  os.dup2(2, 1)
  return link


def _read(link: socket.socket, size: int) -> bytes:
  """Reads `size` bytes; ends the process if the other end is closed."""
  content = b""
  while len(content) < size:
    piece = link.recv(size - len(content))
    if not piece:
      os._exit(0)
    content += piece
  return content


def _end_with_parent(link: socket.socket, life: int) -> None:
  """Ends this process and its children when the parent ends, however it ends.

  `life` is a pipe to which the parent never writes.
  """
  if sys.platform == "linux":
    # The system kills the whole group when the parent's end of the pipe closes, even while code
    # runs that blocks all other threads.
    fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(life, fcntl.F_SETFL, os.O_ASYNC)
    # It kills this process also if another process holds that end; 1 is PR_SET_PDEATHSIG.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
  waiting = select.poll()
  waiting.register(link, 0)  # for the closing of the other end alone

  def end() -> None:
    waiting.poll()
    os.killpg(0, signal.SIGKILL)

  threading.Thread(target=end, daemon=True).start()


if __name__ == "__main__":
  main()
