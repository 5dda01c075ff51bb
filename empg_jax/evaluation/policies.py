"""The policy of a config or of a run, ready to play its environment."""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import jax

from empg_jax import chat as chats, envs, workers
from empg_jax.checkpoint import trained
from empg_jax.config import config as configs
from empg_jax.distributed import sharding
from empg_jax.generation.policy import Policy
from empg_jax.io import paths
from empg_jax.kernels import hardware
from empg_jax.models import folder
from empg_jax.models.decoder import Decoder
from empg_jax.rollout import actor, play
from empg_jax.types import Episode


def find(config: Any, workdir: str | None, step: str | None) -> tuple[Any, paths.Path | None]:
  """The config to play with, and the folder of the checkpoint if the policy is a run's.

  Args:
    config: the value of --config; None if it was not given, like the next two.
    workdir: of a run; programs that it has compiled are reused.
    step: of its checkpoint, or "best"; None for the newest.

  Raises:
    ValueError: not exactly one of --config and --workdir was given, or a step without a run.
    FileNotFoundError: there is no such checkpoint.
  """
  if (workdir is None) == (config is None):
    raise ValueError("give either --workdir=FOLDER of a run or --config=configs/FILE.py")
  if workdir is None:
    if step is not None:
      raise ValueError(f"--step={step} is of a run: give its --workdir, not --config.")
    return config, None
  home, number = trained.find(workdir, trained.step(step))
  hardware.keep_programs(home / "compiled")
  return configs.read(home), home / "checkpoints" / str(number)


def load(config: Any, checkpoint: paths.Path | None) -> tuple[Decoder, chats.Chat]:
  """The model of the checkpoint, or that of the config, and its chat."""
  home = folder.locate(config.model.path)
  rules = envs.find(config.env.name).REPLY
  chat = folder.chat(home, **rules | config.chat.to_dict())
  if checkpoint is not None:
    return trained.load(config, checkpoint), chat
  return folder.load(home, sharding.make_mesh(), dtype=config.model.dtype), chat


def check(config: Any, environment: ModuleType) -> None:
  """Raises ValueError unless the config's sections for playing fit what they configure."""
  arguments = configs.arguments(config.env)
  configs.check_arguments(environment.make, arguments, "config.env")
  configs.check_arguments(environment.tasks, config.tasks, "config.tasks", ["split"])
  configs.check_arguments(chats.load, config.chat, "config.chat", ["path"])
  given = ["model", "end_id", "vocab_size", "mesh"]
  configs.check_arguments(Policy, config.policy, "config.policy", given)
  if config.rollout.get("window", -1) >= 0:
    envs.need(environment, "prompt", f"config.rollout.window={config.rollout.window}")
  given = ["module", "arguments"]
  configs.check_arguments(workers.environments, config.get("workers", {}), "config.workers", given)


def make(config: Any, model: Decoder, chat: chats.Chat, *, episodes: int) -> Policy:
  """A policy with as many slots as `episodes` need, and at most those of the config."""
  slots = min(config.policy.slots, -(-episodes // len(jax.local_devices())))
  spoken = dict(end_id=chat.end_id, vocab_size=chat.vocab_size)
  return Policy(model, **spoken, **{**config.policy, "slots": slots})


def collect(
  config: Any,
  environment: ModuleType,
  policy: Policy,
  chat: chats.Chat,
  tasks: Sequence[str],
  *,
  key: jax.Array,
  progress: Callable[[int], Any] | None = None,
) -> list[Episode]:
  """Plays every task once, in the config's environment and row layout."""
  arguments = configs.arguments(config.env)
  settings = config.get("workers", {})
  with workers.environments(environment.__name__, arguments, **settings) as make_env:
    return actor.collect(
      policy,
      chat,
      make_env,
      tasks,
      group_size=1,
      max_turns=config.rollout.max_turns,
      invalid_penalty=config.rollout.invalid_penalty,
      prompt=play.prompt(config, environment),
      key=key,
      progress=progress,
    )
