"""Published peak figures of TPU chips.

Sources, read in November 2026:
  v5e  https://docs.cloud.google.com/tpu/docs/v5e
  v5p  https://docs.cloud.google.com/tpu/docs/v5p
  v6e  https://docs.cloud.google.com/tpu/docs/v6e
The network between slices: v5p as given there; v5e and v6e are a host's network cards over
its eight chips (2 x 100 and 4 x 200 Gbps). What a program may take of the memory is what
the compiler names when it refuses one.
"""

from typing import NamedTuple

from empg_jax import lookup


class Chip(NamedTuple):
  """The memory of one chip, and its peak rates a second."""

  memory: float  # GiB that a program may take
  flops: float  # bfloat16
  hbm: float  # bytes
  ici: float  # bytes, both ways over all links
  torus: int  # dimensions of the network
  dcn: float  # bytes to other slices

  @property
  def ring(self) -> float:
    """Bytes a second that leave a chip on a ring along one dimension of the torus."""
    return self.ici / 2 / self.torus


CHIPS = {
    "v5e": Chip(memory=15.75, flops=197e12, hbm=819e9, ici=400e9, torus=2, dcn=25e9 / 8),
    "v5p": Chip(memory=95.74, flops=459e12, hbm=2765e9, ici=1200e9, torus=3, dcn=50e9 / 8),
    "v6e": Chip(memory=31.25, flops=918e12, hbm=1638e9, ici=800e9, torus=2, dcn=100e9 / 8),
}

# Those that the compiler knows and that were tried.
TOPOLOGIES = {
    "v5e": ("2x2", "2x4", "4x4", "8x8", "16x16"),
    "v5p": ("2x2x1", "2x2x4", "4x4x4", "4x4x8", "8x8x8"),
    "v6e": ("2x2", "2x4", "4x4", "8x8", "16x16"),
}


def of(topology: str) -> Chip:
  """The chip of a topology like "v5p:4x4x8".

  Raises:
    ValueError: it is not known; the known ones are named.
  """
  kind, _, shape = topology.partition(":")
  if shape not in TOPOLOGIES.get(kind, ()):
    known = "; ".join(f"{kind}: {', '.join(shapes)}" for kind, shapes in TOPOLOGIES.items())
    raise ValueError(f"There is no topology {topology!r}: write KIND:SHAPE, of {known}.")
  return lookup.choose(CHIPS, kind, "chip")
