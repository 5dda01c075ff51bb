"""Which devices hold what: the mesh, and how rows and parameters lie on it."""

import os
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

DATA = "data"
CPU_DEVICES = 2  # enough to keep two cores busy decoding the two halves of the slots


def use_cpu_devices() -> None:
  """Splits a CPU into host devices, so that the halves of the slots decode side by side.

  To be called before JAX looks for devices; without effect on accelerators.
  """
  jax.config.update("jax_num_cpu_devices", min(CPU_DEVICES, os.cpu_count() or 1))


def make_mesh(*, data: int = 1) -> Mesh:
  """A mesh whose axis `data` the rows of a batch are divided over.

  Args:
    data: devices; 0 takes all there are.

  Raises:
    ValueError: there are fewer devices.
  """
  devices = jax.devices()
  count = data or len(devices)
  if count > len(devices):
    raise ValueError(
        f"config.mesh.data is {data}, but there are {len(devices)} devices: lower it, or set it"
        " to 0 for all of them."
    )
  return jax.make_mesh((count,), (DATA,), (AxisType.Auto,), devices=devices[:count])


def check_rows(size: int, data: int) -> None:
  """Raises ValueError unless a microbatch divides over the devices."""
  devices = data or len(jax.devices())
  if size % devices:
    raise ValueError(
        f"A microbatch of {size} rows (config.train.size) does not divide over {devices} devices"
        " (config.mesh.data): make it a multiple of them."
    )


def replicate(tree: Any, mesh: Mesh) -> Any:
  """The same arrays on every device."""
  return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def to_mesh(batch: Any, mesh: Mesh) -> Any:
  """Host arrays [B, ...] with their rows divided over the mesh."""
  return jax.device_put(batch, NamedSharding(mesh, PartitionSpec(DATA)))
