"""What a training step and an evaluation play, as the config of a run has it."""

from collections.abc import Callable, Mapping, Sequence
import functools
import statistics
from types import ModuleType
from typing import Any

import jax
from jaxtyping import PRNGKeyArray
import ml_collections

from empg_jax import console, envs
from empg_jax.distributed import hosts
from empg_jax.envs import Env
from empg_jax.rollout import fitting
from empg_jax.rollout.actor import Policy, collect
from empg_jax.rollout.dynamic import Groups, differing_groups
from empg_jax.rollout.seat import Chat, Prompt
from empg_jax.rollout.tasks import TaskSampler
from empg_jax.tracking import metrics
from empg_jax.types import Episode

# (policy, tasks, group_size, key, title) -> episodes
Play = Callable[[Policy, Sequence[str], int, PRNGKeyArray, str], list[Episode]]


def sampler(config: ml_collections.ConfigDict, environment: ModuleType) -> TaskSampler:
  """The tasks of each training step, of all types in turn.

  Raises:
    ValueError: the environment has not every split that is to be evaluated.
  """
  for split in config.evaluation.splits:
    try:
      environment.tasks(split, **config.tasks)
    except ValueError as error:
      raise ValueError(f"config.evaluation.splits names {split!r}: {error}") from error
  tasks = environment.tasks("train", **config.tasks)
  return TaskSampler(tasks, config.seed, kind=environment.task_type)


def prompt(config: ml_collections.ConfigDict, environment: ModuleType) -> Prompt | None:
  """What makes a turn a prompt of its own; None where a row is a whole episode."""
  window = config.rollout.get("window", -1)
  return functools.partial(environment.prompt, window=window) if window >= 0 else None


def player(
  config: ml_collections.ConfigDict,
  environment: ModuleType,
  chat: Chat,
  make_env: Callable[[], Env],
  asked_to_stop: Callable[[], bool],
) -> Play:
  """What plays every task `group_size` times (`collect`) behind a progress bar.

  Raises:
    ValueError: what an episode begins with does not fit the context (fitting.check).
  """
  of_config = dict(
    max_turns=config.rollout.max_turns,
    invalid_penalty=config.rollout.invalid_penalty,
    prompt=prompt(config, environment),
    asked_to_stop=asked_to_stop,
  )
  tasks = environment.tasks("train", **config.tasks)
  fitting.check(config, chat, make_env, tasks, of_config["prompt"])

  def play(policy, tasks, group_size, key, title):
    with console.Progress(title, len(tasks) * group_size, "episodes") as progress:
      return collect(
        policy, chat, make_env, tasks, group_size=group_size, key=key, **of_config,
        progress=progress.update if hosts.is_first() else None,
      )  # fmt: skip

  return play


def groups(
  config: ml_collections.ConfigDict,
  tasks: TaskSampler,
  play: Play,
  policy: Policy,
  step: int,
  key: PRNGKeyArray,
) -> Groups:
  """A training step's episodes (rollout.dynamic), a pure function of policy, step and key.

  Later rounds have tasks and draws of their own.
  """
  rounds = max(config.rollout.max_rounds, 1)

  def play_round(number, count):
    drawn = tasks.at(step * rounds + number, config.rollout.tasks)[:count]
    at = jax.random.fold_in(key, number) if number else key
    title = f"rollout {step}" + f", round {number + 1}" * (number > 0)
    return play(policy, drawn, config.rollout.group_size, at, title)

  return differing_groups(play_round, config.rollout.tasks, config.rollout.max_rounds)


def evaluation(
  config: ml_collections.ConfigDict,
  environment: ModuleType,
  play: Play,
  policy: Policy,
  step: int,
  key: PRNGKeyArray,
  keep: Callable[[int, str, list[Episode]], Any] | None = None,
) -> dict[str, int | float]:
  """Plays the validation tasks once each, after training step `step`.

  Args:
    key: the same at every step, so that evaluations differ by the policy alone.
    keep: writes (step, split, episodes) down, on the first host.

  Returns:
    metrics.summarize, and the mean of the environment's own score, under eval/SPLIT/.
  """
  results, when = {}, f"after step {step}" if step else "before training"
  for split in config.evaluation.splits:
    tasks = environment.tasks(split, **config.tasks)[: config.evaluation.tasks]
    at = policy.at(config.evaluation.temperature)
    episodes = play(at, tasks, 1, jax.random.fold_in(key, 0), f"{split} {when}")
    summary = metrics.summarize(episodes, environment.task_type)
    played = [episode.info for episode in episodes if episode.ended != "aborted"]
    summary["score"] = statistics.fmean(envs.score(environment, info) for info in played)
    results |= metrics.prefixed(f"eval/{split}", summary)
    if keep is not None and hosts.is_first():
      keep(step, split, episodes)
  return results


def evaluates(config: ml_collections.ConfigDict, step: int) -> bool:
  """Whether there is an evaluation after a training step; there is one before the first."""
  return step == config.num_steps or step % config.evaluation.every == 0


def owes_evaluation(config: ml_collections.ConfigDict, row: Mapping[str, Any]) -> bool:
  """Whether the evaluation after a step is missing in its row of the metrics."""
  missing = not any(name.startswith("eval/") for name in row)
  return missing and evaluates(config, row["step"])


def summarize(groups: Groups) -> dict[str, int | float]:
  """What a training step's episodes sum up to, those of dropped groups included."""
  summary = metrics.summarize(groups.played) | metrics.entropy_by_turn(groups.played)
  counts = {"groups_dropped": groups.dropped, "groups_short": groups.short, "lag": groups.lag}
  return metrics.prefixed("train", summary | counts) | dict(groups.usage)
