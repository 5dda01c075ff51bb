"""Devices of a TPU slice, known to the compiler without being there."""

import importlib.util
import os
from collections.abc import Sequence

import jax
from jax.sharding import Mesh

from empg_jax import sharding
from empg_jax.plan import chips

_INSTALL = "pip install 'jax[tpu]'"


def prepare() -> None:
  """Keeps JAX on the CPU and the TPU compiler from looking for a TPU's host.

  To be called before JAX looks for devices.

  Raises:
    ImportError: the compiler is not installed.
  """
  if importlib.util.find_spec("libtpu") is None:
    raise ImportError(f"There is no TPU compiler here: {_INSTALL} brings it; it needs no TPU.")
  os.environ.update(
      TPU_SKIP_MDS_QUERY="1",
      TPU_WORKER_HOSTNAMES="localhost",
      TPU_WORKER_ID="0",
      ALLOW_MULTIPLE_LIBTPU_LOAD="1",
  )
  jax.config.update("jax_platforms", "cpu")


def devices(topology: str, slices: int = 1) -> Sequence[jax.Device]:
  """The chips of `slices` slices of a topology like "v5p:4x4x8".

  Raises:
    ValueError: the topology is not known.
  """
  from jax.experimental import topologies

  chips.of(topology)
  several = {} if slices == 1 else {"num_slices": slices}
  return topologies.get_topology_desc(
      platform="tpu", topology_name=topology, **several
  ).devices


def mesh(chips: Sequence[jax.Device], *, data: int, fsdp: int, tensor: int) -> Mesh:
  """The mesh of a config, over all of the chips, as on a pod a run has to take all.

  Raises:
    ValueError: there are fewer chips, or more, or they do not divide.
  """
  made = sharding.make_mesh(data=data, fsdp=fsdp, tensor=tensor, devices=chips)
  if made.size < len(chips):
    sizes = ", ".join(f"{name} {size}" for name, size in made.shape.items())
    raise ValueError(
        f"config.mesh is {sizes}, which takes {made.size} of {len(chips)} chips: make one of its"
        " axes 0, for all that the others leave, or name a smaller topology."
    )
  return made
