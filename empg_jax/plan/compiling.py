"""Compiles a program for other hardware and reads the compiler's figures."""

from collections.abc import Sequence
import re
import time
from typing import NamedTuple

import jax
from jax.sharding import Mesh

from empg_jax.plan import flops, hlo
from empg_jax.plan.chips import Chip
from empg_jax.plan.programs import Program

GIB = 2**30
_QUICK = {"exec_time_optimization_effort": -1.0}  # a fifth of the time; memory within a tenth


class TooLarge(Exception):
  """A program needs more memory than a chip has, alone or with all that the run keeps; in GiB."""

  def __init__(self, needed: float, there: float, program: str = ""):
    over = needed - there
    super().__init__(
      f"it takes {needed:.1f} GiB per chip, {over:.1f} more than the {there:.2f} available"
    )
    self.needed, self.there, self.program = needed, there, program


class Report(NamedTuple):
  """The figures of one run of a program on one chip."""

  name: str
  compile_s: float
  arguments: float  # GiB
  temporaries: float  # GiB
  peak: float  # GiB
  free: float  # GiB
  flops: float
  model_flops: float
  tokens: float
  hlo_mb: float
  largest_buffer: int  # elements of the largest array on a chip
  custom_calls: dict[str, int]  # library kernels in the program's text
  collectives: list[hlo.Collective]
  seconds: dict[str, float]  # lower bound of the time by each of the chip's peak rates

  @property
  def peak_bytes(self) -> int:
    return int(self.peak * GIB)

  @property
  def limit(self) -> str:
    """The resource that takes longest; the others may overlap with it."""
    return max(self.seconds, key=self.seconds.get)

  @property
  def step_s(self) -> float:
    return self.seconds[self.limit]

  def mfu(self, chip: Chip) -> float:
    """Model FLOPs utilization at the roofline's step time."""
    return self.model_flops / self.step_s / chip.flops


def measure(program: Program, mesh: Mesh, chip: Chip, *, quick: bool = False) -> Report:
  """Compiles a program for the chips of a mesh and returns its figures.

  Raises:
    TooLarge: it does not fit.
    RuntimeError: the compiler fails.
  """
  begun = time.monotonic()
  with jax.set_mesh(mesh):
    compiled = _compile(program, chip, _platform(mesh), _QUICK if quick else None)
  compile_s = time.monotonic() - begun
  memory, text = compiled.memory_analysis(), compiled.as_text()
  peak = memory.peak_memory_in_bytes / GIB
  if peak > chip.memory:  # XLA's GPU compiler has no limit
    raise TooLarge(peak, chip.memory)
  jaxpr, platform = program.traced.jaxpr, _platform(mesh)
  operations = flops.of_program(jaxpr, mesh.size, program.loop, platform) / mesh.size
  exchanged = hlo.collectives(text, mesh)
  return Report(
    name=program.name,
    compile_s=compile_s,
    arguments=memory.argument_size_in_bytes / GIB,
    temporaries=memory.temp_size_in_bytes / GIB,
    peak=peak,
    free=chip.memory - peak,
    flops=operations,
    model_flops=program.model_flops / mesh.size,
    tokens=program.tokens / mesh.size,
    hlo_mb=len(text) / 1e6,
    largest_buffer=hlo.largest_buffer(text),
    custom_calls=hlo.custom_calls(text),
    collectives=exchanged,
    seconds=_seconds(operations, program.loop * _moved(memory), exchanged, mesh, chip),
  )


def _platform(mesh: Mesh) -> str:
  """The platform to lower programs for."""
  name = mesh.devices.flat[0].platform
  return "cuda" if name == "gpu" else name


def _compile(program: Program, chip: Chip, platform: str, options) -> jax.stages.Compiled:
  try:
    lowered = program.traced.lower(lowering_platforms=(platform,))
    return lowered.compile(compiler_options=options)
  except jax.errors.JaxRuntimeError as error:
    first = str(error).strip().split("\n")[0]
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise RuntimeError(f"The {program.name} does not compile; XLA says: {first}") from error
    sizes = [float(x) for x in re.findall(r"\b([\d.]+)G\b", first)]
    needed = max((x for x in sizes if x != chip.memory), default=chip.memory)
    raise TooLarge(needed, chip.memory) from error


def _moved(memory) -> int:
  """Lower bound of the memory traffic: arguments read once, results written once."""
  return memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes


def _seconds(operations, moved, exchanged, mesh, chip: Chip) -> dict[str, float]:
  """The roofline: each resource at its peak."""
  within, between = 0.0, 0.0
  for x in exchanged:
    places, devices = _group(mesh, x.axes)
    if places == 1:
      within += x.sent / chip.ring
    else:  # the devices of a place share its network
      between += x.sent / (chip.dcn * devices / places)
  far = "links between slices" if _platform(mesh) == "tpu" else "network between hosts"
  return {
    "matrix products": operations / chip.flops,
    "memory": moved / chip.hbm,
    "links between chips": within,
    far: between,
  }


def _group(mesh: Mesh, axes: Sequence[str]) -> tuple[int, int]:
  """The number of slices or hosts, and of devices, in a group along some axes."""
  whole = tuple(slice(None) if name in axes else 0 for name in mesh.axis_names)
  group = mesh.devices[whole].reshape(-1)
  return len({place(device) for device in group}), group.size


def place(device: jax.Device) -> int:
  """The index of a TPU's slice or a GPU's host, within which links are fast."""
  if device.platform == "tpu":
    return getattr(device, "slice_index", 0)
  return device.process_index
