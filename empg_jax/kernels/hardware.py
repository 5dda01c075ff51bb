"""What each kind of hardware wants: the one place that tells CPUs, GPUs and TPUs apart."""

from collections.abc import Callable
import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

MEMORY_SHARE = 0.92  # of a GPU's memory; JAX takes three quarters by itself
CPU_DEVICES = 2  # enough to keep two cores busy decoding the two halves of the slots


class Platform(NamedTuple):
  """The shape that programs take on one kind of hardware."""

  name: str
  attention: str  # of whole rows in bfloat16, by a file of kernels.attention
  scanned: bool  # layers of an update in a loop; False: unrolled unless it recomputes them
  decode_layers: str  # "scanned"; or unrolled: "sliced" of stacked parameters, or lying "apart"
  narrow: bool  # what a layer keeps between its products is of their type
  merges: bool  # XLA joins products of one operand, and copies the others to do so
  cuts_once: bool  # a turn copies the window out of the cache; False: a layer reads it in place
  float_cache: bool  # the cache holds 16-bit floats as such; False: as their bits
  loss: str  # "kernels" of Pallas, or "blocks" of the vocabulary by XLA
  loss_logits: int  # that the loss holds at a time, where no kernel computes it
  loss_width: int  # and the least vocabulary entries of a block, for fast products
  whole_mesh: bool  # decodes on all devices together; False: on each apart
  torus: bool  # a device is nearer to some than to others

  @property
  def whole_heads(self) -> bool:
    """Whether `tensor` has to divide the heads, as kernels take whole ones."""
    return self.attention != "blocks"

  def attention_of(self, dtype: jax.typing.DTypeLike, head_dim: int) -> str:
    """The file of kernels.attention for operands of a type; cuDNN has 16-bit heads alone."""
    if self.attention != "cudnn":
      return self.attention
    fits = jnp.dtype(dtype).itemsize == 2 and head_dim % 8 == 0 and head_dim <= 128
    return "cudnn" if fits else "blocks"


# On a CPU an unrolled loop over the layers decodes 2.4 times faster. XLA turns all that an update
# keeps for its backward pass into float32 and back whenever a scan adds a layer's bfloat16 to it,
# and a column of a bfloat16 cache is written by turning the whole cache: bits stay in place.
CPU = Platform(
  "cpu", "blocks", scanned=False, decode_layers="sliced", narrow=False, merges=False,
  cuts_once=True, float_cache=False, loss="blocks", loss_logits=2**19, loss_width=512,
  whole_mesh=False, torus=False,
)  # fmt: skip
# A block of the loss fills a card: 256 MiB of logits. Layers that a loop cuts out of stacked
# parameters are copied at every token, and so is a window that a layer cuts out of its cache:
# that took a third of a turn's time on an H100.
GPU = Platform(
  "gpu", "cudnn", scanned=True, decode_layers="apart", narrow=True, merges=True,
  cuts_once=True, float_cache=True, loss="blocks", loss_logits=2**26, loss_width=2048,
  whole_mesh=True, torus=False,
)  # fmt: skip
TPU = Platform(
  "tpu", "splash", scanned=True, decode_layers="scanned", narrow=True, merges=False,
  cuts_once=False, float_cache=True, loss="kernels", loss_logits=2**26, loss_width=2048,
  whole_mesh=True, torus=True,
)  # fmt: skip


_NAMED = {"tpu": TPU, "gpu": GPU, "cuda": GPU, "rocm": GPU}  # by JAX


def of(where: str | jax.Device | Mesh) -> Platform:
  """The hardware of a name, a device or a mesh; what has no name here counts as a CPU."""
  if isinstance(where, Mesh):
    where = where.devices.flat[0]
  return _NAMED.get(where if isinstance(where, str) else where.platform, CPU)


def current() -> Platform:
  """What the program being traced is to run on.

  The mesh in context tells, which may be of chips that are not there.
  """
  device = jax.sharding.get_abstract_mesh().abstract_device
  return of(jax.default_backend() if device is None else device.platform)


def dispatch_loss(*args: Any, kernels: Callable, blocks: Callable) -> Any:
  """What the loss's way on the hardware returns for `args`.

  JAX chooses when it lowers the program, not when it traces it: a program can be traced here and
  compiled for hardware that is not here, without a mesh that says so.
  """
  ways = {"kernels": kernels, "blocks": blocks}
  others = {name: ways[x.loss] for name, x in _NAMED.items() if x.loss != CPU.loss}
  return jax.lax.platform_dependent(*args, default=ways[CPU.loss], **others)


def finds_hosts() -> bool:
  """Whether JAX finds a run's hosts by itself: on TPU slices, whose chips it has seen."""
  return (jax.config.jax_platforms or "").startswith("tpu")


def prepare() -> None:
  """Splits a CPU into host devices, so that the halves of the slots decode side by side.

  Of a GPU's memory, JAX is to take nearly all, unless XLA_PYTHON_CLIENT_MEM_FRACTION says how
  much. To be called before JAX looks for devices; without effect on TPUs.
  """
  os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", str(MEMORY_SHARE))
  jax.config.update("jax_num_cpu_devices", min(CPU_DEVICES, os.cpu_count() or 1))


def keep_programs(folder: os.PathLike) -> None:
  """Keeps compiled programs in a folder and takes them from there, also once it was copied.

  The environment's JAX_COMPILATION_CACHE_DIR takes the folder's place: runs may share one.
  XLA's own cache of tuned kernels stays off: its path would be part of a program's key, and a
  kept program needs none.
  """
  folder = os.environ.get("JAX_COMPILATION_CACHE_DIR", folder)
  jax.config.update("jax_compilation_cache_dir", str(folder))
  jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
