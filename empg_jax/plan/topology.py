"""Describes the devices of TPU slices and GPU hosts to the compiler, without the hardware."""

from collections.abc import Sequence
import importlib.util
import os

import jax
from jax.sharding import Mesh

from empg_jax.distributed import sharding
from empg_jax.plan import cards, chips


def prepare(topology: str) -> None:
  """Makes JAX run on the CPU, and keeps the compiler from looking for the hardware.

  Call it before JAX initialises its devices.

  Raises:
    ImportError: the compiler is not installed.
    ValueError: the topology is unknown.
  """
  chips.of(topology)
  if kind(topology) in chips.GPUS:
    _find("jax_cuda13_plugin", "GPU", "jax[cuda13]", "no GPU, and takes 4.6 GB")
  else:
    _find("libtpu", "TPU", "jax[tpu]", "no TPU")
    os.environ.update(
      TPU_SKIP_MDS_QUERY="1",
      TPU_WORKER_HOSTNAMES="localhost",
      TPU_WORKER_ID="0",
      ALLOW_MULTIPLE_LIBTPU_LOAD="1",
    )
  jax.config.update("jax_platforms", "cpu")


def kind(topology: str) -> str:
  """The chip or GPU of a topology: "v5e", "h100"."""
  return topology.partition(":")[0]


def _find(module: str, name: str, extra: str, needs: str) -> None:
  if importlib.util.find_spec(module) is None:
    raise ImportError(
      f"There is no {name} compiler here: pip install '{extra}' brings it; it needs {needs}."
    )


def devices(topology: str, slices: int = 1) -> Sequence[jax.Device]:
  """The chips of `slices` slices of a topology like "v5p:4x4x8", or the GPUs of "h100:8".

  Raises:
    ValueError: the topology is unknown, or `slices` is given for GPUs.
  """
  from jax.experimental import topologies

  chips.of(topology)
  if kind(topology) in chips.GPUS:
    hosts, gpus = chips.hosts(topology)
    if slices > 1:
      raise ValueError(
        f"--slices is for TPUs: for {slices * hosts} hosts write"
        f" --topology={kind(topology)}:{slices * hosts}x{gpus}."
      )
    # Hosts, processes of each, GPUs of each of these.
    given = dict(topology=f"{hosts}x1x{gpus}", target_config=cards.target(kind(topology)))
    return topologies.get_topology_desc(platform="cuda", **given).devices
  several = {} if slices == 1 else {"num_slices": slices}
  return topologies.get_topology_desc(platform="tpu", topology_name=topology, **several).devices


def mesh(chips: Sequence[jax.Device], *, data: int, fsdp: int, tensor: int) -> Mesh:
  """The mesh of a config over all chips, because a run on a pod takes all of them.

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
