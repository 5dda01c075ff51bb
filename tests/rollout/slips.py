"""An environment that makes one slip an episode, named by its task or action; else it counts."""

import math

import numpy as np

from empg_jax.envs import Step


class Unprintable(Exception):
  def __str__(self):
    raise OSError("and no words for it")


class Slips:
  def reset(self, task):
    self.count = 0
    return RESETS.get(task, f"{task} begins")

  def step(self, action):
    if action == "exit":
      raise SystemExit(3)
    if action == "unprintable":
      raise Unprintable
    if action == "surrogate error":
      raise ValueError("\ud800")
    self.count += 1
    return STEPS.get(action, Step(f"step {self.count}", 1, self.count == 3, {"won": False}))

  def close(self):
    return self  # which nobody wants

  def __len__(self):
    return 0  # and yet it is there


make = Slips


def tasks(split):
  return ["a", "b"]


def task_type(task):
  return "any"


RESETS = {
  "gymnasium's": ("text", {}),
  "None": None,
  "bytes": b"text",
  "half a character": "a\ud800",
  "a list": ["text"],
}
_LOOP: dict = {}
_LOOP["again"] = _LOOP
STEPS = {
  "gymnasium's": ("text", 0.0, False, False, {}),
  "no step": None,
  "bytes": Step(b"text", 0.0, False, {}),
  "no text": Step(None, 0.0, False, {}),
  "half a character": Step("a\udfff", 0.0, False, {}),
  "no info": Step("text", 0.0, False, None),
  "listed info": Step("text", 0.0, False, [("won", True)]),
  "an object in info": Step("text", 0.0, False, {"won": False, "world": object()}),
  "a loop in info": Step("text", 0.0, False, _LOOP),
  "half a character in info": Step("text", 0.0, False, {"won": False, "said": "\ud800"}),
  "won in words": Step("text", 0.0, False, {"won": "no"}),
  "nan": Step("text", math.nan, False, {}),
  "inf": Step("text", -math.inf, False, {}),
  "numpy's nan": Step("text", np.float32("nan"), False, {}),
  "too much": Step("text", 1e300, False, {}),
  "no reward": Step("text", None, False, {}),
  "a reward in words": Step("text", "1.0", False, {}),
  "many rewards": Step("text", np.ones(2), False, {}),
  "done in words": Step("text", 0.0, "False", {}),
  "not known whether done": Step("text", 0.0, None, {}),
}
# Of NumPy, and what JSON has no word for: all right, and the same in this process as in a worker.
RIGHT = Step(
  "text", np.float32(0.5), np.bool_(True),
  {
    "won": np.bool_(True), "a": np.float32(0.5), "b": (1, np.arange(2)), "c": math.nan,
    4: 2**70, "d": 2**62,
  },
)  # fmt: skip
STEPS["right"] = RIGHT
