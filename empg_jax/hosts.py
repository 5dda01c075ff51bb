"""The processes of a run: one on each host, all running the same program."""

import os

import jax
from jax.experimental import multihost_utils
from jaxtyping import Int32
import numpy as np

_NAMES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def join() -> None:
  """Makes one run of the processes on several hosts; a process that is alone stays so.

  On a TPU slice, or several, JAX finds the hosts by itself. Elsewhere three variables of
  the environment name them: JAX_COORDINATOR_ADDRESS (HOST:PORT of the first process),
  JAX_NUM_PROCESSES and JAX_PROCESS_ID. To be called before JAX looks for devices.

  Raises:
    ValueError: some of the three are missing, or are no numbers.
  """
  address, count, number = (os.environ.get(name, "") for name in _NAMES)
  if address or count or number:
    if not (address and count.isdecimal() and number.isdecimal()):
      given = ", ".join(f"{name}={os.environ.get(name, '')}" for name in _NAMES)
      raise ValueError(
          f"The hosts of the run are not clear from {given}: set all three, as HOST:PORT, how"
          " many processes there are, and which this one is, from 0."
      )
    jax.distributed.initialize(address, int(count), int(number))
  elif (jax.config.jax_platforms or "").startswith("tpu"):  # JAX has seen chips
    jax.distributed.initialize()


def is_first() -> bool:
  """Whether this process is the one that writes and speaks for all."""
  return jax.process_index() == 0


def say(text: str) -> None:
  """Prints a line, once a run."""
  if is_first():
    print(text, flush=True)


def maximum(values: Int32[np.ndarray, "n"]) -> Int32[np.ndarray, "n"]:
  """The largest that any host has, of each; all hosts have to ask, with as many values."""
  if jax.process_count() == 1:
    return values
  return np.max(multihost_utils.process_allgather(values), axis=0)
