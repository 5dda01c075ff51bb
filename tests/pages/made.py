"""A small run's episodes, some of whose words would rather be part of the page."""

import numpy as np

from empg_jax import algorithms
from empg_jax.rollout.pack import pack
from empg_jax.rollout.unpack import unpack
from empg_jax.tracking import episode_files
from empg_jax.types import Episode, Turn

HOSTILE = "<script>alert(1)</script></script><!-- $title \u2028 <img src=x onerror=alert(2)>"
ALGORITHM = algorithms.make("empg", k=1.5, zeta=0.1, base={"name": "grpo"})
_RNG = np.random.default_rng(0)


def letters(ids):
  """One id a character; 0 ends a reply."""
  return "".join(chr(i) for i in ids if i)


def kind(task):
  return task.split("/")[0]


def turn(observation, text="<a>look</a>", action="look", reward=0.0):
  ids = np.array([*map(ord, text), 0], np.int32)
  entropy = _RNG.random(len(ids), np.float32)
  return Turn((1,), ids, -entropy, entropy, observation, text, action, reward)


def episode(task, group, index, turns, success=False, ended="turns", **info):
  observations = [f"Turn {at} of {task}." for at in range(turns)]
  made = [turn(text, reward=float(success and at == turns - 1))
          for at, text in enumerate(observations)]  # fmt: skip
  info = {"won": success, **info}
  return Episode(task, group, index, tuple(made), float(success), success, ended, info)


TRAINED = [
    episode("heat/0", 0, 0, 3, True, "done", task_score=0.25),
    episode("heat/0", 0, 1, 2),
    episode("heat/0", 0, 2, 4, True, "done"),
    episode("cool_it/<b>1</b>", 1, 0, 1),
    Episode(
        "cool_it/<b>1</b>", 1, 1,
        (turn(HOSTILE, "Zugzwang & <i>so on</i>\n<a>\U0001f600</a>", None, -0.1),
         turn("\n".join(f"line {number}" for number in range(40)), "<a>wait</a>", "wait", 1.0)),
        0.9, True, "done", {"won": True},
    ),
    episode("cool_it/<b>1</b>", 1, 2, 1, ended="aborted", error="KeyError: '<i>a trap</i>'"),
]  # fmt: skip
DROPPED = [episode("heat/2", 2, index, 2) for index in range(2)]
VALID = [episode("heat/0", 0, 0, 2), episode("cool_it/9", 1, 0, 5, True, "done")]


def explained():
  """What EMPG makes of those that are trained on."""
  batch = pack(TRAINED, lengths=(128,))
  return unpack(algorithms.explain(ALGORITHM, batch, batch.behavior_entropy), batch.steps, TRAINED)


def write(workdir):
  """Three sets: of a training step, of an evaluation, and one that is empty."""
  shared = dict(text=letters, task_type=kind)
  episode_files.write(workdir, 20, "train", TRAINED + DROPPED, values=explained(), **shared)
  episode_files.write(workdir, 20, "valid_seen", VALID, **shared)
  episode_files.write(workdir, 30, "valid_seen", [], **shared)
