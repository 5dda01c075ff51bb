"""The mesh, and the shardings of rows and parameters over it.

The mesh has three axes. `data` replicates the parameters, `fsdp` shards them and gathers a
layer when it is computed, `tensor` shards each matrix product. Rows of a batch are sharded
over the first two. The optimizer's moments are sharded like their parameters.
"""

from collections.abc import Callable, Sequence
import functools
import math
from typing import Any

import jax
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec
import numpy as np

from empg_jax.io import words
from empg_jax.kernels import hardware

AXES = DATA, FSDP, TENSOR = "data", "fsdp", "tensor"
ROWS = (DATA, FSDP)

_Axes = tuple[Any, ...]  # a name, several names or None for each of the first dimensions
_Of = Callable[..., Any]

_INWARDS, _OUTWARDS = (TENSOR, FSDP), (FSDP, TENSOR)
# Of a module's `weight` [out, in]. Norms are replicated; a `bias` [out] is sharded like `out`.
PARAMETERS = {
  "embed_tokens": _INWARDS,  # [V, D]
  "lm_head": _INWARDS,
  "q_proj": _INWARDS,
  "k_proj": _INWARDS,
  "v_proj": _INWARDS,
  "gate_proj": _INWARDS,
  "up_proj": _INWARDS,
  "o_proj": _OUTWARDS,
  "down_proj": _OUTWARDS,
  "value_head": (),  # [D]
}


def make_mesh(
  *,
  data: int = 1,
  fsdp: int = 1,
  tensor: int = 1,
  devices: Sequence[jax.Device] | None = None,
) -> Mesh:
  """The mesh (data, fsdp, tensor).

  Args:
    data: devices along the axis; 0 takes all that the other axes leave.
    fsdp, tensor: likewise.
    devices: to choose from; None: all of this run. On several slices `data` is a multiple
      of their number, and only this axis crosses slices.

  Raises:
    ValueError: there are fewer devices, or they do not divide.
  """
  sizes = _sizes(
    len(jax.devices()) if devices is None else len(devices), data=data, fsdp=fsdp, tensor=tensor
  )
  if devices is None:
    devices = jax.devices()
    _check_all_hosts(math.prod(sizes), len(devices))
  return Mesh(_arranged(devices[: math.prod(sizes)], sizes), AXES, (AxisType.Auto,) * 3)


def count(devices: int = 0, **axes: int) -> int:
  """How many devices a mesh of these axes takes, of `devices` or of those that are here."""
  return math.prod(_sizes(devices or len(jax.devices()), **axes))


def _sizes(count: int, **axes: int) -> tuple[int, ...]:
  """The axes' sizes on `count` devices, with a 0 resolved."""
  wanted = ", ".join(f"{name} {size}" for name, size in axes.items())
  open_axes = [name for name, size in axes.items() if size == 0]
  if len(open_axes) > 1 or min(axes.values()) < 0:
    raise ValueError(f"config.mesh is {wanted}: give whole numbers, of which one may be 0.")
  taken = math.prod(size for size in axes.values() if size)
  if taken > count or open_axes and count % taken:
    raise ValueError(
      f"config.mesh is {wanted}, but JAX finds {words.count(count, 'device')}: choose axes whose"
      " product is at most that; one may be 0, for all that the others leave."
    )
  return tuple(size or count // taken for size in axes.values())


def _check_all_hosts(taken: int, count: int) -> None:
  if jax.process_count() > 1 and taken != count:
    raise ValueError(
      f"config.mesh takes {taken} of {count} devices, but on several hosts it must take all:"
      " make one of its axes 0."
    )


def _arranged(devices: Sequence[jax.Device], sizes: tuple[int, ...]) -> np.ndarray:
  """The devices in the mesh's shape, with network neighbours adjacent."""
  if not hardware.of(devices[0]).torus:
    return np.asarray(devices).reshape(sizes)
  slices = len({getattr(device, "slice_index", 0) for device in devices})
  if slices == 1:
    return mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
  if sizes[0] % slices:
    raise ValueError(
      f"config.mesh.data is {sizes[0]} on {slices} slices: make it a multiple of {slices}, for"
      " the axis data crosses from slice to slice."
    )
  return mesh_utils.create_hybrid_device_mesh(
    (sizes[0] // slices, *sizes[1:]), (slices, 1, 1), devices, allow_split_physical_axes=True
  )


def check_rows(
  key: str, rows: int, devices: int = 0, *, data: int = 1, fsdp: int = 1, tensor: int = 1
) -> None:
  """Raises ValueError unless config.KEY rows divide over the devices of the row axes.

  The run has `devices`; 0: those here.
  """
  data, fsdp, _ = _sizes(devices or len(jax.devices()), data=data, fsdp=fsdp, tensor=tensor)
  if rows % (data * fsdp):
    raise ValueError(
      f"config.{key} is {rows}, which does not divide over {data * fsdp} devices"
      " (config.mesh.data x config.mesh.fsdp): make it a multiple of them."
    )


def check_heads(kv_heads: int, tensor: int = 0) -> None:
  """Raises ValueError unless the heads divide over `tensor`; 0: that of the mesh in context."""
  mesh = _mesh()
  tensor = tensor or (1 if mesh is None else mesh.shape[TENSOR])
  if kv_heads % tensor:
    raise ValueError(
      f"The model's {kv_heads} key/value heads do not divide over config.mesh.tensor {tensor}:"
      " choose a divisor, and more of fsdp."
    )


def shardings(tree: Any, mesh: Mesh | AbstractMesh, axes: Sequence[str] = AXES) -> Any:
  """The NamedSharding of every leaf of a tree of parameters.

  Takes arrays or their shapes, in any tree that holds parameters under their names: a model,
  a gradient, an optimizer's state, a whole TrainState. Other leaves (a count) are replicated,
  and a dimension that its axis does not divide is not sharded. A leading axis of layers is
  never sharded.

  Args:
    tree: of arrays or shapes.
    mesh: with the three axes.
    axes: those that shard parameters; decoding leaves out `fsdp`, which would gather every
      layer for each token.

  Raises:
    ValueError: a weight's module is not in PARAMETERS.
  """
  parts = {axis: mesh.shape[axis] for axis in axes}
  at = lambda path, x: NamedSharding(mesh, _spec(path, x.shape, parts))
  return jax.tree_util.tree_map_with_path(at, tree)


def _spec(path: Sequence[Any], shape: tuple[int, ...], parts: dict[str, int]) -> PartitionSpec:
  names = [jax.tree_util.keystr((key,), simple=True) for key in path]
  module, kind = next(
    ((m, k) for m, k in zip(names[-2::-1], names[:0:-1]) if k in ("weight", "bias")), ("", "")
  )
  if not kind or module.endswith("norm"):
    return PartitionSpec()
  if module not in PARAMETERS:
    raise ValueError(
      f"{'.'.join(names)} {list(shape)} has no sharding: add {module!r} to sharding.PARAMETERS."
    )
  axes = PARAMETERS[module] if kind == "weight" else PARAMETERS[module][:1]
  if len(shape) < len(axes):  # a factored moment
    return PartitionSpec()
  sizes = shape[len(shape) - len(axes) :]
  divided = [
    axis if parts.get(axis, 1) > 1 and size % parts[axis] == 0 else None
    for axis, size in zip(axes, sizes)
  ]
  if not any(divided):
    return PartitionSpec()
  return PartitionSpec(*[None] * (len(shape) - len(axes)), *divided)


def place(tree: Any, mesh: Mesh) -> Any:
  """Puts a tree of parameters on the mesh, sharded as `shardings` returns."""
  return jax.device_put(tree, shardings(tree, mesh))


def to_mesh(batch: Any, mesh: Mesh) -> Any:
  """Puts host arrays [B, ...] on the mesh, sharded over rows."""
  return jax.device_put(batch, NamedSharding(mesh, PartitionSpec(ROWS)))


def constrain(tree: Any) -> Any:
  """In a jitted function: constrains parameters to `shardings` on the mesh in context."""
  mesh = _mesh()
  if mesh is None:
    return tree
  return jax.lax.with_sharding_constraint(tree, shardings(tree, mesh))


def in_use() -> bool:
  """Whether the program being traced is for a mesh of several devices."""
  return _mesh() is not None


def fits(x: jax.Array, *axes: Any) -> bool:
  """Whether a mesh is in use and each named axis divides its dimension of x."""
  mesh = _mesh()
  return mesh is not None and None not in _fitting(x.shape, axes, mesh)


def divide(x: jax.Array, *axes: Any) -> jax.Array:
  """In a jitted function: shards the first dimensions of x over the named axes.

  Without names, x is replicated. A dimension that its axis does not divide is not sharded.
  Without a mesh, returns x.
  """
  mesh = _mesh()
  if mesh is None:
    return x
  divided: jax.Array = jax.lax.with_sharding_constraint(x, _fitting(x.shape, axes, mesh))
  return divided


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def reshard(x: jax.Array, forward: _Axes, backward: _Axes, dtype: Any = None) -> jax.Array:
  """Shards x over the axes `forward`, and its gradient over `backward`; see `divide`.

  By default XLA shards a gradient like its value, and may shard the input of a matrix product
  so that each device needs the whole weight.

  Args:
    x: an activation.
    forward, backward: axes of its first dimensions.
    dtype: x is rounded to it for the transfer; None: not rounded.
  """
  if dtype is None or _mesh() is None:
    return divide(x, *forward)
  return divide(x.astype(dtype), *forward).astype(x.dtype)


reshard.defvjp(
  lambda x, forward, backward, dtype: (reshard(x, forward, backward, dtype), None),
  lambda forward, backward, dtype, _, g: (divide(g, *backward),),
)


def _fitting(shape: tuple[int, ...], axes: Sequence[Any], mesh: AbstractMesh) -> PartitionSpec:
  names = [n if isinstance(n, tuple) else (n,) if n else () for n in axes]
  parts = [math.prod(mesh.shape[name] for name in group) for group in names]
  return PartitionSpec(*(n if size % k == 0 else None for n, k, size in zip(names, parts, shape)))


def on_shards(f: _Of, given: Any, out: PartitionSpec) -> _Of:
  """f mapped over shards, for kernels, which XLA cannot partition; without a mesh, f itself.

  Args:
    f: a function of arrays.
    given, out: PartitionSpecs of its arguments and its result.
  """
  if _mesh() is None:
    return f
  return jax.shard_map(f, in_specs=given, out_specs=out, check_vma=False)


def typed(f: _Of, *given: _Axes) -> _Of:
  """f with its arguments' shardings in their types, which the functions of `core` read.

  Args:
    f: a function of arrays.
    given: for each argument, the axes of its first dimensions, as in `divide`.
  """
  mesh = _mesh()
  if mesh is None:
    return f

  def of(*args: jax.Array) -> Any:
    specs = tuple(_fitting(x.shape, axes, mesh) for x, axes in zip(args, given))
    return jax.sharding.explicit_axes(f, in_sharding=specs)(*args)

  return of


def _mesh() -> AbstractMesh | None:
  """The mesh in context, if it has more than one device."""
  mesh = jax.sharding.get_abstract_mesh()
  return None if mesh.empty or mesh.size == 1 else mesh
