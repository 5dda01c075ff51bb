"""Environments in worker processes, which may crash, hang or run out of memory: the run goes on.

    with workers.environments("empg_jax.envs.webshop", {}, count=8, ...) as make_env:
      episodes = collect(policy, chat, make_env, tasks, ...)

`process` is a worker as its parent sees it, `child` the program that it runs; `pool` distributes
environments over several workers and replaces those that fail.
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
    arguments: plain values of JSON.
    count: worker processes; 0: the environments are in this process, without protection from
      crashes, endless loops and too much memory.
    timeout_s: how long an answer may take.
    memory_mib: how much memory a worker may hold. Pages that it shares with others, such as
      mapped files, do not count where the system reports them separately (Linux).

  Raises:
    ValueError: the environment cannot be made; the message quotes its error.
  """
  if not count:
    make = functools.partial(importlib.import_module(module).make, **arguments)
    try:
      answers.try_out(make)
    except (Exception, SystemExit) as error:  # Any error here is the environment's.
      reason = answers.fault(error)
      raise ValueError(f"No environment of {module} can be made: {reason}") from error
    yield make
    return
  with Pool(module, arguments, count, timeout_s, memory_mib) as pool:
    yield pool.env
