"""Settings per kind of hardware: the only module that distinguishes CPUs, GPUs and TPUs."""

from collections.abc import Callable
import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

MEMORY_SHARE = 0.92  # of a GPU's memory; JAX's default is three quarters
CPU_DEVICES = 2  # each with a set of slots, to keep two cores busy


class Platform(NamedTuple):
  """How programs are built for one kind of hardware."""

  name: str
  attention: str  # the file of kernels.attention for whole rows in bfloat16
  scanned: bool  # an update loops over layers; False: unrolls them unless it recomputes them
  decode_layers: str  # "scanned"; or unrolled: "sliced" from stacked parameters, or "apart"
  narrow: bool  # activations between a layer's products have the products' dtype
  merges: bool  # XLA merges products that share an operand, and copies the others for it
  branches: bool  # a program skips unneeded work with a branch; False: there is one for each case
  tokens: int  # that a slot writes before control returns to the host
  rows: int  # slots that read at a time
  loss: str  # Pallas "kernels", or XLA over "blocks" of the vocabulary
  loss_logits: int  # logits that the loss holds at a time, without kernels
  loss_width: int  # the fewest vocabulary entries per block, for fast products
  whole_mesh: bool  # one program decodes on all devices; False: one per device
  torus: bool  # distances between devices differ

  @property
  def whole_heads(self) -> bool:
    """Whether `tensor` must divide the heads, because kernels take whole heads."""
    return self.attention != "blocks"

  def attention_of(self, dtype: jax.typing.DTypeLike, head_dim: int) -> str:
    """The file of kernels.attention for operands of a dtype; cuDNN supports only 16-bit ones."""
    if self.attention != "cudnn":
      return self.attention
    fits = jnp.dtype(dtype).itemsize == 2 and head_dim % 8 == 0 and head_dim <= 128
    return "cudnn" if fits else "blocks"


# On a CPU an unrolled loop over the layers decodes 2.4 times faster. Whenever a scan appends a
# layer's bfloat16 to the residuals of an update, XLA converts all of them to float32 and back.
CPU = Platform(
  "cpu", "blocks", scanned=False, decode_layers="sliced", narrow=False, merges=False,
  branches=True, tokens=8, rows=8, loss="blocks", loss_logits=2**19, loss_width=512,
  whole_mesh=False, torus=False,
)  # fmt: skip
# A block of the loss, 256 MiB of logits, fills a card. A loop that slices layers from stacked
# parameters copies them at every token, and so does a layer that slices a window from its cache:
# this took a third of a turn's time on an H100. So both are in separate arrays.
GPU = Platform(
  "gpu", "cudnn", scanned=True, decode_layers="apart", narrow=True, merges=True,
  branches=False, tokens=32, rows=8, loss="blocks", loss_logits=2**26, loss_width=2048,
  whole_mesh=True, torus=False,
)  # fmt: skip
TPU = Platform(
  "tpu", "splash", scanned=True, decode_layers="scanned", narrow=True, merges=False,
  branches=False, tokens=32, rows=8, loss="kernels", loss_logits=2**26, loss_width=2048,
  whole_mesh=True, torus=True,
)  # fmt: skip


_NAMED = {"tpu": TPU, "gpu": GPU, "cuda": GPU, "rocm": GPU}  # JAX's names


def of(where: str | jax.Device | Mesh) -> Platform:
  """The platform of a name, a device or a mesh; unknown ones count as CPUs."""
  if isinstance(where, Mesh):
    where = where.devices.flat[0]
  return _NAMED.get(where if isinstance(where, str) else where.platform, CPU)


def current() -> Platform:
  """The platform that the program being traced is for.

  It is that of the mesh in context, which may be of other hardware, or else of JAX's backend.
  """
  device = jax.sharding.get_abstract_mesh().abstract_device
  return of(jax.default_backend() if device is None else device.platform)


def dispatch_loss(*args: Any, kernels: Callable, blocks: Callable) -> Any:
  """Calls the platform's implementation of the loss with `args`.

  JAX chooses it when it lowers the program, not when it traces it: a program can be traced here
  and compiled for other hardware without a mesh of it.
  """
  choices = {"kernels": kernels, "blocks": blocks}
  others = {name: choices[x.loss] for name, x in _NAMED.items() if x.loss != CPU.loss}
  return jax.lax.platform_dependent(*args, default=choices[CPU.loss], **others)


def finds_hosts() -> bool:
  """Whether JAX finds a run's hosts by itself, as on TPU slices."""
  return (jax.config.jax_platforms or "").startswith("tpu")


def prepare() -> None:
  """Splits a CPU into host devices, so that several sets of slots decode in parallel.

  Lets JAX preallocate most of a GPU's memory, unless XLA_PYTHON_CLIENT_MEM_FRACTION is set. Call
  it before JAX initialises its devices; it has no effect on TPUs.
  """
  os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", str(MEMORY_SHARE))
  jax.config.update("jax_num_cpu_devices", min(CPU_DEVICES, os.cpu_count() or 1))


def keep_programs(folder: os.PathLike) -> None:
  """Caches compiled programs in a folder, which may be copied.

  JAX_COMPILATION_CACHE_DIR, if set, replaces the folder, so that runs may share one. XLA's own
  cache of tuned kernels stays off: its path would be part of a program's key, and a cached
  program does not need it.
  """
  folder = os.environ.get("JAX_COMPILATION_CACHE_DIR", folder)
  jax.config.update("jax_compilation_cache_dir", str(folder))
  jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
