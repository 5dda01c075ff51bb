"""The record of an episode, and the file of an evaluation."""

from collections.abc import Sequence
import json
import os
from types import ModuleType
from typing import Any, TypedDict

import numpy as np

from empg_jax import envs
from empg_jax.io import json_text, paths
from empg_jax.types import Episode

# Two evaluations are comparable if these are equal.
SAME = ("environment", "split", "tasks")


class Record(TypedDict):
  """One episode. Records of one task and seed, of different agents, are a pair."""

  task: str
  type: str
  seed: int
  success: bool
  reward: float  # the sum of the rewards, less the penalties
  score: float  # the environment's own, 0 to 1
  turns: int
  invalid: int  # turns whose reply held no valid action
  tokens: int  # sampled
  entropy: float | None  # mean of the steps' mean token entropies, nats; None without a policy
  ended: str


def record(episode: Episode, environment: ModuleType, seed: int) -> Record:
  """The record of an episode that an agent played with `seed`."""
  entropy = [float(np.mean(turn.entropy)) for turn in episode.turns if len(turn.entropy)]
  return Record(
    task=episode.task,
    type=environment.task_type(episode.task),
    seed=seed,
    success=episode.success,
    reward=round(episode.reward, 6),
    score=round(envs.score(environment, episode.info), 6),
    turns=len(episode.turns),
    invalid=sum(turn.action is None for turn in episode.turns),
    tokens=sum(len(turn.reply) for turn in episode.turns),
    entropy=round(sum(entropy) / len(entropy), 6) if entropy else None,
    ended=episode.ended,
  )


def write(path: str | os.PathLike, evaluation: dict[str, Any]) -> None:
  """Writes an evaluation: SAME, `agent`, `episodes` (Records), and any other entries."""
  paths.make_folder(paths.of(path).parent)
  paths.write(path, json_text.dumps(evaluation, indent=1) + "\n", whole=False)


def read(path: str | os.PathLike) -> dict[str, Any]:
  """Reads what `write` wrote; raises ValueError if the file holds anything else."""
  try:
    evaluation = json.loads(paths.of(path).read_text())
    missing = {*SAME, "agent", "episodes"} - evaluation.keys()
    for episode in evaluation["episodes"]:
      missing |= Record.__annotations__.keys() - episode.keys()
    wrong = next(filter(None, map(_fault, [] if missing else evaluation["episodes"])), None)
  except FileNotFoundError:
    raise ValueError(f"There is no file {path}: make one with --json={path}.") from None
  except (ValueError, AttributeError, KeyError, TypeError, OSError, RecursionError) as error:
    raise ValueError(f"{path} is no evaluation ({error}): give files of --json=FILE.") from None
  if missing:
    raise ValueError(f"{path} is no evaluation, it lacks {', '.join(sorted(missing))}.")
  if wrong:
    raise ValueError(f"{path} is no evaluation, an episode in it has {wrong}.")
  return evaluation


def _fault(episode: Record) -> str | None:
  """The first value in an episode that a Record cannot have there; None if there is none."""
  for name, kind in Record.__annotations__.items():
    x = episode[name]
    right = isinstance(x, (int, float) if kind is float else kind)
    if right and isinstance(x, (int, float)):
      right = abs(x) < 1e30  # and no NaN
    if not right or (isinstance(x, bool) and kind is not bool):
      return f"{x!r:.40} as {name}"
  return None


def check_comparable(paths: Sequence[str], evaluations: Sequence[dict[str, Any]]) -> None:
  """Raises ValueError unless all evaluations are of the first one's tasks, and share some pairs."""
  for path, other in zip(paths[1:], evaluations[1:]):
    for key in SAME:
      there, here = other[key], evaluations[0][key]
      if there != here:
        raise ValueError(
          f"{path} is of {key} {there} and {paths[0]} of {here}: compare evaluations of the"
          " same tasks."
        )
    if not _played(other) & _played(evaluations[0]):
      raise ValueError(
        f"{path} and {paths[0]} have no task and seed in common: compare evaluations of the same"
        " tasks."
      )


def _played(evaluation: dict[str, Any]) -> set[tuple[str, int]]:
  return {(r["task"], r["seed"]) for r in evaluation["episodes"] if r["ended"] != "aborted"}
