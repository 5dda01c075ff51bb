"""An environment that fails in every way it is asked to; it does nothing when it is imported."""

import os
import re
import stat
import subprocess
import time

from empg_jax.envs import Step


def make(**arguments):
  return Faulty(**arguments)


class Faulty:
  """Counts its steps; task and action say how it is to fail."""

  def __init__(self, start=0, missing=""):
    if missing:
      raise FileNotFoundError(f"there is no {missing}")
    self._start, self._hoard = start, []

  def reset(self, task):
    self._count = self._start
    self._fail(task)
    return 7 if task == "number" else f"{task} begins"

  def step(self, action):
    self._count += 1
    self._fail(action)
    said = {"pid": os.getpid(), "surrogate": "\ud800"}.get(action, self._count)
    if action == "start":
      said = subprocess.Popen(["sleep", "1000"]).pid
    return Step(f"{action}: {said}", 1, self._count == 9, {"won": self._count == 9})

  def close(self):
    pass

  def _fail(self, how):
    if how == "crash":
      os._exit(3)
    elif how == "hang":
      time.sleep(1000)
    elif how == "hold":  # and let no other thread run
      re.match("(a*)*b", 60 * "a")
    elif how == "swell":
      self._hoard.append(100 * 2**20 * b"x")
    elif how == "burst":
      self._fail("swell")
      self._fail("hang")
    elif how == "raise":
      raise KeyError("a trap")
    elif how == "print":
      print("not for the pipe")
    elif how == "noise":
      _send(b"Segmentation fault\n")
    elif how == "forge":
      _frame(b'{"number": 0, "answer": "all is well"}')
    elif how == "nested":
      _frame(100_000 * b"[")
    elif how == "rest":
      time.sleep(0.03)


def _frame(content):
  _send(len(content).to_bytes(4, "big") + content)


def _send(content):
  """Writes into whatever this process has open, its link among them."""
  for number in range(3, 64):
    try:
      if stat.S_ISSOCK(os.fstat(number).st_mode):
        os.write(number, content)
    except OSError:
      pass  # not open
