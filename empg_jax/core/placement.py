"""Letting XLA place a small computation, whatever the mesh's axis types."""

from collections.abc import Callable

import jax
from jax.sharding import AxisType, PartitionSpec, auto_axes
from jaxtyping import Array


def automatic(f: Callable[..., tuple], *args, like: tuple[Array | None, ...]) -> tuple:
  """Returns f(*args); on an Explicit mesh XLA places what happens inside f.

  For the few small steps (a sort, a reshape over rows) whose layout the types
  of an Explicit mesh cannot tell. Without a mesh, or on an Auto one, this is
  just f(*args).

  Args:
    f: a function of arrays that returns a tuple.
    *args: its arguments.
    like: for each output the array whose sharding it takes; None: replicated.
  """
  mesh = jax.sharding.get_abstract_mesh()
  types = [jax.typeof(x) for x in (*args, *like) if x is not None]
  for mesh in (mesh, *(t.sharding.mesh for t in types)):
    if not mesh.empty:
      break
  explicit = tuple(
      name
      for name, kind in zip(mesh.axis_names, mesh.axis_types)
      if kind == AxisType.Explicit
  )
  if not explicit:
    return f(*args)
  specs = [PartitionSpec() if x is None else jax.typeof(x).sharding.spec for x in like]
  out = tuple(jax.NamedSharding(mesh, spec) for spec in specs)
  return auto_axes(f, axes=explicit, out_sharding=out)(*args)
