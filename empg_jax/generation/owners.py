"""Which host fills which slots of a mesh, and how what it has to say reaches the devices."""

import collections
from collections.abc import Sequence
import math

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, Int32
import numpy as np

from empg_jax.distributed import sharding


def givers(mesh: Mesh, slots: int) -> Int[np.ndarray, "slots"]:
  """For each slot, the place along `tensor` of the device whose host fills it.

  Slots are divided over the rows of the mesh. Where `tensor` goes over several hosts, as it
  does on most slices of TPUs, they share a row, and each fills about as many slots.
  """
  rows = _rows(mesh)
  filled = collections.Counter()
  chosen = []
  for slot in range(slots):
    hosts = [device.process_index for device in rows[slot * len(rows) // slots]]
    at = min(range(len(hosts)), key=lambda place: (filled[hosts[place]], hosts[place]))
    filled[hosts[at]] += 1
    chosen.append(at)
  return np.array(chosen)


def _rows(mesh: Mesh) -> np.ndarray:
  """The devices of a mesh as [data * fsdp, tensor]."""
  return mesh.devices.reshape(-1, mesh.shape[sharding.TENSOR])


class HostSlots:
  """The slots that a host fills, of `slots` that are divided over the rows of a mesh.

  Their numbers are `slots`, ascending.
  """

  def __init__(self, mesh: Mesh, slots: int, host: int):
    rows = _rows(mesh)
    self._size = slots // len(rows)  # slots of a row
    self._givers = givers(mesh, slots)
    fillers = [rows[i // self._size, at].process_index for i, at in enumerate(self._givers)]
    self.slots = np.flatnonzero(np.array(fillers) == host)
    self._shape = rows.shape[1], slots
    self._apart = NamedSharding(mesh, PartitionSpec(sharding.TENSOR, sharding.ROWS))
    divided = NamedSharding(mesh, PartitionSpec(sharding.ROWS))
    self._add_up = jax.jit(_add_up, static_argnames="shapes", out_shardings=divided)
    self.count = len(self.slots)

  def to_devices(self, arrays: Sequence[np.ndarray]) -> list[Array]:
    """Arrays of all slots, divided over the mesh's rows, of which each host gives its own.

    Args:
      arrays: int32 [own] or [own, n].
    """
    columns = [x.reshape(self.count, *x.shape[1:] or (1,)) for x in arrays]
    given = np.zeros((self._shape[1], sum(x.shape[1] for x in columns)), np.int32)
    given[self.slots] = np.concatenate(columns, axis=1)

    def part(index):
      place = index[0].indices(self._shape[0])[0]
      return np.where(self._givers[index[1]] == place, given[index[1]].T, 0).T[None]

    shape = (*self._shape, given.shape[1])
    apart = jax.make_array_from_callback(shape, self._apart, part)
    return self._add_up(apart, shapes=tuple(x.shape[1:] for x in arrays))

  def from_devices(self, arrays: Sequence[Array]) -> list[np.ndarray]:
    """The host's own slots of arrays [slots, ...] that are divided as `to_devices` gives them."""
    rows, row = np.unique(self.slots // self._size, return_inverse=True)
    slot = row * self._size + self.slots % self._size
    parts = []
    for x in arrays:
      starts = {s.index[0].indices(x.shape[0])[0]: s.data for s in x.addressable_shards}
      parts.append([starts[row * self._size] for row in rows])
    none = [np.zeros((0, *x.shape[1:]), x.dtype) for x in arrays]
    return [np.concatenate([x, *own])[slot] for x, own in zip(none, jax.device_get(parts))]


def _add_up(given: Int32[Array, "places slots _"], shapes: Sequence[tuple[int, ...]]):
  """What all hosts give, each 0 for the slots of others, as arrays [slots, *shape]."""
  given = jnp.sum(given, axis=0)
  ends = np.cumsum([math.prod(shape) for shape in shapes])
  parts = jnp.split(given, ends[:-1], axis=1)
  return [part.reshape(len(given), *shape) for part, shape in zip(parts, shapes)]
