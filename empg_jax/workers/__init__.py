"""Environments in processes of their own, which may crash, hang or swell without hurting the run.

    with workers.environments("empg_jax.envs.webshop", {}, count=8, ...) as make_env:
      episodes = collect(policy, chat, make_env, tasks, ...)

`process` is a worker as its parent sees it, `child` the program that it runs, `pool` deals
environments out over several and replaces those that fail.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import functools
import importlib
from typing import Any

from empg_jax.envs import Env
from empg_jax.envs._shared import answers
from empg_jax.workers.pool import Pool


@contextlib.contextmanager
def environments(
  module: str,
  arguments: Mapping[str, Any],
  *,
  count: int = 0,
  timeout_s: float = 60.0,
  memory_mib: int = 2048,
) -> Iterator[Callable[[], Env]]:
  """Yields a function that makes environments, each `module.make(**arguments)`.

  Args:
    module: the full name of an environment's module ("empg_jax.envs.alfworld").
    arguments: plain values, as JSON has them.
    count: worker processes; 0: the environments live in this one, where nothing guards against
      crashes, endless loops and too much memory.
    timeout_s: how long an answer may take.
    memory_mib: what a worker may hold; pages that it shares with others, such as files
      mapped into memory, are not counted where the system tells them apart (Linux).

  Raises:
    ValueError: the environment cannot be made; the message has its own words.
  """
  if not count:
    make = functools.partial(importlib.import_module(module).make, **arguments)
    try:
      answers.try_out(make)
    except (Exception, SystemExit) as error:  # Whatever it is, it is the environment's.
      reason = answers.fault(error)
      raise ValueError(f"No environment of {module} can be made: {reason}") from error
    yield make
    return
  with Pool(module, arguments, count, timeout_s, memory_mib) as pool:
    yield pool.env
