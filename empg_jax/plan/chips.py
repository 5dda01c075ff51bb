"""Published peak figures of TPU chips and of GPUs.

Sources, as of November 2026:
  v5e   https://docs.cloud.google.com/tpu/docs/v5e
  v5p   https://docs.cloud.google.com/tpu/docs/v5p-training
  v6e   https://docs.cloud.google.com/tpu/docs/v6e
  a100, h100, h200: the SXM modules. Memory bandwidth: see `cards`. FLOPs and NVLink:
        https://jax-ml.github.io/scaling-book/gpus
        (989: 132 cores x 4 units x 512 multiply-adds at 1.83 GHz, as XLA counts it)
Links between chips: both directions over all links. The network between slices: v5p as given
there; for v5e and v6e a host's network cards over its eight chips (2 x 100 and 4 x 200 Gbps).
Between hosts of GPUs: one network card per GPU, 400 Gbps in a DGX H100 or H200
(https://docs.nvidia.com/dgx-basepod/reference-architecture-infrastructure-foundation-enterprise-ai/latest/core-components.html),
200 with A100s (https://github.com/calculon-ai/calculon/blob/main/systems/a100_80g.json).
The memory available on a TPU chip is the limit in the compiler's out-of-memory error; on a GPU,
the share that JAX preallocates here (hardware.MEMORY_SHARE).
"""

import math
import re
from typing import NamedTuple

from empg_jax.config import lookup
from empg_jax.kernels import hardware


class Chip(NamedTuple):
  """The memory of one chip or GPU, and its peak rates per second."""

  memory: float  # GiB available to a program
  flops: float  # bfloat16, dense
  hbm: float  # bytes
  ici: float  # bytes, both directions over all links
  torus: int  # dimensions of the network; 1: a switch
  dcn: float  # bytes to other slices or hosts

  @property
  def ring(self) -> float:
    """Bytes per second that leave a chip on a ring along one dimension of the torus."""
    return self.ici / 2 / self.torus


def _gpu(memory: int, **peaks: float) -> Chip:
  return Chip(memory=round(memory / 2**30 * hardware.MEMORY_SHARE, 2), torus=1, **peaks)


CHIPS = {
  "v5e": Chip(memory=15.75, flops=197e12, hbm=819e9, ici=400e9, torus=2, dcn=25e9 / 8),
  "v5p": Chip(memory=95.74, flops=459e12, hbm=2765e9, ici=1200e9, torus=3, dcn=50e9 / 8),
  "v6e": Chip(memory=31.25, flops=918e12, hbm=1638e9, ici=800e9, torus=2, dcn=100e9 / 8),
  "a100": _gpu(84_987_740_160, flops=312e12, hbm=2039.04e9, ici=600e9, dcn=25e9),
  "h100": _gpu(84_929_347_584, flops=989e12, hbm=3352.32e9, ici=900e9, dcn=50e9),
  "h200": _gpu(150_109_880_320, flops=989e12, hbm=4800e9, ici=900e9, dcn=50e9),
}

# How the names begin that JAX gives devices.
_DEVICES = {
  "TPU v5 lite": "v5e", "TPU v5": "v5p", "TPU v6 lite": "v6e", "NVIDIA A100": "a100",
  "NVIDIA H100": "h100", "NVIDIA H200": "h200",
}  # fmt: skip

# Topologies that the compiler knows and that have been tried.
TOPOLOGIES = {
  "v5e": ("2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16"),
  "v5p": ("2x2x1", "2x2x4", "4x4x4", "4x4x8", "8x8x8"),
  "v6e": ("2x2", "2x4", "4x4", "8x8", "16x16"),
}
GPUS = ("a100", "h100", "h200")
_OF_A_HOST = 8  # GPUs that a switch joins


def of(topology: str) -> Chip:
  """The chip of a topology like "v5p:4x4x8", or the GPU of one like "h100:8" or "h100:2x8".

  Raises:
    ValueError: the topology is unknown; the message lists the known ones.
  """
  kind, _, shape = topology.partition(":")
  if kind in GPUS:
    hosts(topology)
  elif shape not in TOPOLOGIES.get(kind, ()):
    known = "; ".join(f"{kind}: {', '.join(shapes)}" for kind, shapes in TOPOLOGIES.items())
    raise ValueError(
      f"There is no topology {topology!r}: write KIND:SHAPE, of {known}; or a GPU of"
      f" {', '.join(GPUS)}: how many of a host, as h100:8, or hosts x GPUs, as h100:2x8."
    )
  return lookup.get(CHIPS, kind, "chip")


def of_device(kind: str, memory: int) -> Chip:
  """The chip of a device that is here.

  Args:
    kind: as JAX names it; of one without published figures, what it does takes no time.
    memory: bytes that a program may take.
  """
  name = next((name for begins, name in _DEVICES.items() if kind.startswith(begins)), None)
  unknown = Chip(0.0, flops=math.inf, hbm=math.inf, ici=math.inf, torus=1, dcn=math.inf)
  return CHIPS.get(name, unknown)._replace(memory=memory / 2**30)


def hosts(topology: str) -> tuple[int, int]:
  """Hosts, and GPUs of each, of a topology like "h100:8" or "h100:2x8".

  Raises:
    ValueError: it has another form, or more GPUs per host than a switch joins.
  """
  kind, _, shape = topology.partition(":")
  match = re.fullmatch(r"(?:([1-9]\d*)x)?([1-9]\d*)", shape)
  if match is None or int(match[2]) > _OF_A_HOST:
    raise ValueError(
      f"There is no topology {topology!r}: write the GPUs of one host, {kind}:1 to"
      f" {kind}:{_OF_A_HOST}, or hosts x GPUs, as {kind}:2x8."
    )
  return int(match[1] or 1), int(match[2])


def count(topology: str) -> int:
  """The chips or GPUs of a topology."""
  product = 1
  for size in topology.partition(":")[2].split("x"):
    product *= int(size)
  return product
