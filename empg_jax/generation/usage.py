"""What slots and devices did: how full the slots were, and how the devices spent their time."""

from collections.abc import Sequence
from concurrent import futures
import dataclasses
import time
from typing import Any

import jax


@dataclasses.dataclass
class Usage:
  """Sums over all slots and devices of a host."""

  tokens: int = 0
  """That were sampled."""
  slot_steps: int = 0
  """Steps of sampling that were run, each counted once a slot."""
  read_s: float = 0.0
  """Seconds in which devices read pieces."""
  write_s: float = 0.0
  """And sampled."""
  idle_s: float = 0.0
  """And waited for the host, between the first piece and the last reply."""

  def metrics(self) -> dict[str, float]:
    """What a training step reports of them."""
    return {
      "rollout/utilisation": self.tokens / max(self.slot_steps, 1),
      "rollout/read_s": self.read_s,
      "rollout/idle_s": self.idle_s,
    }


class Clock:
  """Measures one device or mesh, to which one thing after the other is given."""

  def __init__(self, usage: Usage):
    self._usage = usage
    self._watcher = futures.ThreadPoolExecutor(1)
    self._done: futures.Future | None = None

  def watch(self, read: Sequence[Any], written: Any) -> None:
    """Notes when these arrays, which the device has just been given to compute, are there.

    Args:
      read: of the pieces, the first to be computed.
      written: of the replies; None: none are being written.
    """
    begun = time.monotonic()
    if self._done is not None:
      self._usage.idle_s += max(begun - self._done.result(), 0.0)
    self._done = self._watcher.submit(self._wait, begun, read, written)

  def _wait(self, begun: float, read: Sequence[Any], written: Any) -> float:
    """Waits beside the actor, who may come later; when all were there."""
    jax.block_until_ready(read)
    between = time.monotonic() if read else begun
    jax.block_until_ready(written)
    done = time.monotonic() if written is not None else between
    self._usage.read_s += between - begun
    self._usage.write_s += done - between
    return done
