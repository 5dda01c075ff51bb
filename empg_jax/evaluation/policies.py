"""A policy of a config's, ready to play its environment."""

from collections.abc import Callable, Sequence
import functools
from types import ModuleType
from typing import Any

import jax

from empg_jax import chat as chats, config as configs, workers
from empg_jax.generation.policy import Policy
from empg_jax.models.decoder import Decoder
from empg_jax.rollout import actor
from empg_jax.types import Episode


def check(config: Any, environment: ModuleType) -> None:
  """Raises ValueError unless the sections that playing needs fit what they configure."""
  arguments = configs.arguments(config.env)
  configs.check_arguments(environment.make, arguments, "config.env")
  configs.check_arguments(environment.tasks, config.tasks, "config.tasks", ["split"])
  configs.check_arguments(chats.load, config.chat, "config.chat", ["path"])
  configs.check_arguments(Policy, config.policy, "config.policy", ["model", "end_id", "mesh"])
  given = ["module", "arguments"]
  configs.check_arguments(
      workers.environments, config.get("workers", {}), "config.workers", given
  )


def make(config: Any, model: Decoder, chat: chats.Chat, *, episodes: int) -> Policy:
  """Decodes with as many slots as so many episodes need, and no more than the config's."""
  slots = min(config.policy.slots, -(-episodes // 2))
  return Policy(model, end_id=chat.end_id, **{**config.policy, "slots": slots})


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
  window = config.rollout.get("window", -1)
  prompt = functools.partial(environment.prompt, window=window) if window >= 0 else None
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
        prompt=prompt,
        key=key,
        progress=progress,
    )
