"""Checks that a config is valid for a script, before anything is loaded."""

from empg_jax import algorithms, chat as chats, envs, workers
from empg_jax.checkpoint import Checkpointer
from empg_jax.config import config as configs
from empg_jax.data import cloning
from empg_jax.distributed import sharding
from empg_jax.generation.policy import Policy
from empg_jax.models import folder, lora
from empg_jax.models.decoder import DecoderConfig
from empg_jax.rollout.actor import collect
from empg_jax.rollout.pack import pack
from empg_jax.training import microbatch, state as states
from empg_jax.training.step import train_step

# Of config.rollout; the others are arguments of collect.
_OF_LAUNCHER = ("tasks", "max_rounds", "window", "max_aborted", "ahead")


def check(config, environment, *, devices: int = 0) -> None:
  """Raises ValueError unless every section fits the function that it configures.

  Args:
    config: of launch/train.py.
    environment: the module of empg_jax.envs that config.env names.
    devices: of the machines that it is for; 0: those here.
  """
  check_arguments = configs.check_arguments
  check_arguments(environment.make, configs.arguments(config.env), "config.env")
  check_arguments(environment.tasks, config.tasks, "config.tasks", ["split"])
  check_arguments(chats.load, config.chat, "config.chat", ["path"])
  played = {k: v for k, v in config.rollout.items() if k not in _OF_LAUNCHER}
  given = ["policy", "chat", "make_env", "tasks", "key", "prompt", "progress", "asked_to_stop"]
  check_arguments(collect, played, "config.rollout", given)
  if config.rollout.window >= 0:
    envs.need(environment, "prompt", f"config.rollout.window={config.rollout.window}")
  check_arguments(workers.environments, config.workers, "config.workers", ["module", "arguments"])
  given = ["model", "end_id", "vocab_size", "mesh"]
  check_arguments(Policy, config.policy, "config.policy", given)
  check_arguments(pack, config.pack, "config.pack", ["episodes", "multiple"])
  check_arguments(states.make_optimizer, config.optimizer, "config.optimizer", ["total_steps"])
  check_arguments(sharding.make_mesh, config.mesh, "config.mesh", ["devices"])
  check_arguments(folder.load, config.model, "config.model", ["mesh"])
  kept = {k: v for k, v in config.checkpoint.items() if k != "every"}
  check_arguments(Checkpointer, kept, "config.checkpoint", ["directory"])
  check_arguments(lora.create, config.lora, "config.lora", ["base", "key"])
  lora.check(config.lora.targets)
  given = ["state", "batch", "reference", "base", "algorithm", "optimizer", "temperature"]
  check_arguments(train_step, config.train, "config.train", given)
  if config.model.dtype != "float32" and not config.lora.rank:
    raise ValueError(
      f"config.model.dtype is {config.model.dtype}, in which most updates would be rounded away:"
      " train float32 parameters, or adapters (config.lora.rank)."
    )
  rows = config.rollout.tasks * config.rollout.group_size
  microbatch.check(rows, config.train.size, config.train.minibatches)
  sharding.check_rows("train.size", config.train.size, devices, **config.mesh)
  sharding.check_rows("policy.slots", config.policy.slots, devices, **config.mesh)
  algorithms.make(**config.algorithm.to_dict())
  _check_groups(config.rollout.group_size, config.rollout.max_rounds)
  _check_ahead(config, devices)
  if config.policy.max_length > max(config.pack.lengths):
    raise ValueError(
      f"config.policy.max_length is {config.policy.max_length} and the longest of"
      f" config.pack.lengths {max(config.pack.lengths)}: an episode could be longer than every"
      " row; raise the one or lower the other."
    )


def check_cloning(config, environment) -> None:
  """Raises ValueError unless the sections of launch/sft.py fit what they configure.

  Raises:
    FileNotFoundError: the model that cloning starts from does not exist.
  """
  if "sft" not in config:
    raise ValueError(
      "The config has no section sft, which says what is cloned: take another preset, or copy"
      " that section from configs/alfworld.py."
    )
  check_arguments, c = configs.check_arguments, config.sft
  demonstrations = envs.need(environment, "demonstrations", "launch/sft.py")
  check_arguments(chats.load, config.chat, "config.chat", ["path"])
  check_arguments(folder.load, config.model, "config.model", ["mesh"])
  for name, section in c.demonstrations.items():
    options = {key: value for key, value in section.items() if key != "episodes"}
    where = f"config.sft.demonstrations.{name}"
    check_arguments(demonstrations, options, where, ["seed"])
  check_arguments(cloning.batches, c.batches, "config.sft.batches", ["sources", "chat", "seed"])
  check_arguments(states.make_optimizer, c.optimizer, "config.sft.optimizer", ["total_steps"])
  if c.fresh:
    check_arguments(DecoderConfig, c.fresh.model, "config.sft.fresh.model", ["vocab_size"])
    DecoderConfig(vocab_size=c.fresh.vocabulary, **c.fresh.model)
  else:
    folder.locate(config.model.path)


def _check_groups(size: int, max_rounds: int) -> None:
  if size < 2 and max_rounds:
    raise ValueError(
      f"config.rollout.group_size is {size} and max_rounds {max_rounds}: the returns of a group"
      " of one cannot differ, so no round would yield a group to train on; set max_rounds to 0,"
      " or group_size to 2 or more."
    )


def _check_ahead(config, devices: int) -> None:
  """Two programs at a time that both span several devices could wait for each other for ever."""
  taken = sharding.count(devices, **config.mesh)
  if config.rollout.get("ahead", 0) and taken > 1:
    raise ValueError(
      f"config.rollout.ahead is 1 and config.mesh takes {taken} devices: playing ahead of the"
      " update needs a mesh of one device, so set rollout.ahead to 0 or the axes of mesh to 1."
    )
