"""The processes of a run: one per host, all running the same program."""

import atexit
from collections.abc import Iterator
import contextlib
import itertools
import os
import sys
import threading
import time

import jax
from jax._src import distributed
from jax.experimental import multihost_utils
from jaxtyping import Int32
import numpy as np

from empg_jax.kernels import hardware

_NAMES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
_PATIENCE_MS = 24 * 60 * 60 * 1000  # JAX notices much earlier that a host is gone
_FAILED = "empg_jax/failed"  # the key under which a failing process leaves its index
_LOOK_S = 1  # interval at which the others poll it
_FAREWELL_S = 3  # for which the first process, which serves the key, stays so that they can
_CHUNK = 2**20  # bytes of a message that go through the devices at a time
_asked = itertools.count()


def join() -> None:
  """Joins the processes of several hosts into one run; without them, does nothing.

  On TPU slices JAX finds the hosts by itself. Elsewhere three environment variables name
  them: JAX_COORDINATOR_ADDRESS (HOST:PORT of the first process), JAX_NUM_PROCESSES and
  JAX_PROCESS_ID. Call it before JAX initialises its devices.

  Raises:
    ValueError: some of the three are missing or not valid.
  """
  address, count, number = (os.environ.get(name, "") for name in _NAMES)
  if address or count or number:
    numbers = count.isdecimal() and number.isdecimal() and int(number) < int(count)
    if not (address and numbers):
      given = ", ".join(f"{name}={os.environ.get(name, '')}" for name in _NAMES)
      raise ValueError(
        f"The hosts of the run are not clear from {given}: set all three, as HOST:PORT, how"
        " many processes there are, and which this one is, from 0."
      )
    jax.distributed.initialize(address, int(count), int(number))
  elif hardware.finds_hosts():
    jax.distributed.initialize()


@contextlib.contextmanager
def together() -> Iterator[None]:
  """In `with`, ends all processes with exit code 1 when one of them fails.

  Otherwise the others would wait for it, and it for them, until JAX gives up after minutes.
  """
  if not is_multiprocess():
    yield
    return
  over = threading.Event()
  watch = threading.Thread(target=_end_with_the_others, args=(over,), daemon=True)
  watch.start()
  try:
    yield
  except Exception:
    atexit.register(_leave)  # after the error is printed and before JAX waits
    raise
  finally:
    over.set()
    watch.join()


def _end_with_the_others(over: threading.Event) -> None:
  while not over.wait(_LOOK_S):
    try:
      failed = int(distributed.global_state.client.key_value_try_get(_FAILED))
    except jax.errors.JaxRuntimeError:
      continue  # no process has failed
    print(f"error: process {failed} of the run failed; see its output.", file=sys.stderr)
    _end()


def _leave() -> None:
  with contextlib.suppress(jax.errors.JaxRuntimeError):  # the first process is gone
    distributed.global_state.client.key_value_set(
      _FAILED, str(process_index()), allow_overwrite=True
    )
  _end()


def _end() -> None:
  sys.stdout.flush()
  sys.stderr.flush()
  if is_first():
    time.sleep(_FAREWELL_S)
  os._exit(1)


def process_index() -> int:
  """The index of this process, from 0."""
  return jax.process_index()


def is_first() -> bool:
  """Whether this is the process that writes files and prints for all."""
  return process_index() == 0


def is_multiprocess() -> bool:
  """Whether the run has several processes."""
  return jax.process_count() > 1


def print_once(text: str) -> None:
  """Prints a line in the first process only."""
  if is_first():
    print(text, flush=True)


def gather(values: Int32[np.ndarray, "n"]) -> Int32[np.ndarray, "hosts n"]:
  """The values of all hosts in the order of their indices; all call it with as many values.

  The exchange does not go through the devices, where it would wait for all dispatched work.
  """
  if not is_multiprocess():
    return values[None]
  # JAX has no public function for this. Two keys alternate: a host that has passed the barrier
  # has read what the other key held.
  client, place = distributed.global_state.client, f"empg_jax/{next(_asked) % 2}/"
  client.key_value_set_bytes(
    f"{place}{jax.process_index():08}", values.tobytes(), allow_overwrite=True
  )
  client.wait_at_barrier("empg_jax", _PATIENCE_MS)
  gathered = sorted(client.key_value_dir_get_bytes(place))
  return np.stack([np.frombuffer(value, np.int32) for _, value in gathered])


def gather_bytes(message: bytes) -> list[bytes]:
  """The messages of all hosts, of any length, in the order of their indices; all call it."""
  if not is_multiprocess():
    return [message]
  sizes = gather(np.asarray([len(message)], np.int32))[:, 0]
  chunks = -(-int(sizes.max()) // _CHUNK)
  own = np.zeros((chunks, _CHUNK), np.uint8)
  own.reshape(-1)[: len(message)] = np.frombuffer(message, np.uint8)
  parts = [multihost_utils.process_allgather(chunk) for chunk in own]
  return [
    b"".join(part[host].tobytes() for part in parts)[:size] for host, size in enumerate(sizes)
  ]
