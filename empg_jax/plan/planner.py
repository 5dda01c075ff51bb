"""Compiles a run's programs for other hardware, one at a time, and checks that the run fits."""

from collections.abc import Mapping
import functools
from typing import NamedTuple

from jax.sharding import Mesh
import ml_collections

from empg_jax.distributed import sharding
from empg_jax.models.decoder import DecoderConfig
from empg_jax.plan import compiling, fitting, memory, programs
from empg_jax.plan.chips import Chip
from empg_jax.plan.compiling import Report

PROGRAMS = {
  "train": programs.train,
  "score": programs.reference,
  "read": programs.read,
  "write": programs.write,
  "reshard": programs.reshard,
}


class Planner(NamedTuple):
  """Compiles programs for a model's shape, a mesh and a chip."""

  shape: DecoderConfig
  mesh: Mesh
  chip: Chip

  @property
  def least(self) -> int:
    """The fewest rows that divide over the mesh."""
    return self.mesh.shape[sharding.DATA] * self.mesh.shape[sharding.FSDP]

  def measure(self, name: str, config: ml_collections.ConfigDict, quick: bool) -> Report:
    """Compiles one of PROGRAMS.

    Raises:
      ValueError: it does not fit; the message names the cheapest change that makes it fit.
      RuntimeError: the compiler fails.
    """
    try:
      return self._compiled(name, config, quick)
    except compiling.TooLarge as error:
      advice = self._advice(name, config)
      what = fitting.PHASES[name]
      raise ValueError(f"The {what} does not fit: {error}; {advice}.") from error

  def check(self, config: ml_collections.ConfigDict, reports: Mapping[str, Report]) -> None:
    """Raises ValueError if a run's programs do not fit together with all that the run keeps."""
    peaks = {name: r.peak_bytes for name, r in reports.items() if name in memory.PROGRAMS}
    try:
      fitting.check(self.items(config), peaks, self.chip.memory)
    except compiling.TooLarge as error:
      what, advice = fitting.PHASES[error.program], self._advice(error.program, config)
      raise ValueError(
        f"The {what} does not fit together with all that the run keeps: {error}; {advice}."
      ) from error

  def items(self, config: ml_collections.ConfigDict) -> list[memory.Item]:
    """What a run keeps in memory."""
    return memory.items(config, self.shape, self.mesh)

  def largest(self, config: ml_collections.ConfigDict) -> int:
    """Rows of the largest microbatch that fits."""
    return fitting.largest(config, functools.partial(self._fits, "train"), self.least)

  def _compiled(self, name, config, quick: bool) -> Report:
    traced = PROGRAMS[name](config, self.shape, self.mesh)
    return compiling.measure(traced, self.mesh, self.chip, quick=quick)

  def _fits(self, name, config) -> None:
    """Raises TooLarge unless the program fits together with all that the run keeps."""
    peak = self._compiled(name, config, quick=True).peak_bytes
    if name in memory.PROGRAMS:
      fitting.check(self.items(config), {name: peak}, self.chip.memory)

  def _advice(self, name, config) -> str:
    changes = dict.fromkeys(("train", "score"), fitting.of_update)
    changes |= dict.fromkeys(memory.SAMPLING, fitting.of_rollout)
    found = changes[name](config, self.least) if name in changes else iter(())
    return fitting.advice(found, functools.partial(self._fits, name))
