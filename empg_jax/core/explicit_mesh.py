"""Computations on an Explicit mesh: partitioned by XLA, or written for one shard.

Without a mesh, or on an Auto one, these functions change nothing: XLA partitions everything.
"""

from collections.abc import Callable
import functools
import math
from typing import Any, NamedTuple, TypeVar

import jax
from jax.sharding import AbstractMesh, AxisType, PartitionSpec, auto_axes
from jaxtyping import Array, Float

Out = TypeVar("Out", bound=tuple[Any, ...])


def automatic(f: Callable[..., Out], *args: Any, like: tuple[Array | None, ...]) -> Out:
  """Returns f(*args); on an Explicit mesh XLA partitions f.

  For the few small operations (a sort, a reshape over rows) whose sharding the
  types of an Explicit mesh cannot express. Without a mesh, or on an Auto one,
  this is f(*args).

  Args:
    f: a function of arrays that returns a tuple.
    *args: its arguments.
    like: for each output, the array whose sharding it takes; None: replicated.
  """
  mesh = _mesh_of(*args, *like)
  explicit = _explicit_axes(mesh)
  if not explicit:
    return f(*args)
  specs = [PartitionSpec() if x is None else jax.typeof(x).sharding.spec for x in like]
  out = tuple(jax.NamedSharding(mesh, spec) for spec in specs)
  placed: Out = auto_axes(f, axes=explicit, out_sharding=out)(*args)
  return placed


def varying_alike(*arrays: Array) -> tuple[Array, ...]:
  """Makes each vary over all manual mesh axes that any of them varies over.

  For use inside `jax.shard_map`: a loop's carry and a custom gradient then have the types
  of their arguments, and the backward pass sums gradients over the added axes. Elsewhere,
  and with check_vma=False, returns the arrays unchanged.
  """
  of = [jax.typeof(x).manual_axis_type.varying for x in arrays]
  every = frozenset().union(*of)
  return tuple(
    jax.lax.pcast(x, tuple(sorted(every - has)), to="varying") for x, has in zip(arrays, of)
  )


class VocabLayout(NamedTuple):
  """How tokens and vocabulary are sharded over the Explicit axes of a mesh."""

  mesh: AbstractMesh
  rows: tuple[str, ...]
  time: tuple[str, ...]
  vocab: tuple[str, ...]
  width: tuple[str, ...]  # of the unembedding's gradient; each axis shards tokens too

  @property
  def tokens(self) -> PartitionSpec:
    return PartitionSpec(self.rows, self.time)

  @property
  def hidden(self) -> PartitionSpec:
    return PartitionSpec(self.rows, self.time, None)

  @property
  def unembedding(self) -> PartitionSpec:
    return PartitionSpec(None, self.vocab)

  @property
  def d_unembedding(self) -> PartitionSpec:
    return PartitionSpec(self.width, self.vocab)

  @property
  def shards(self) -> tuple[int, int]:
    """The number of shards of the tokens and of the vocabulary."""
    sizes = self.mesh.shape
    return (
      math.prod(sizes[name] for name in self.rows + self.time),
      math.prod(sizes[name] for name in self.vocab),
    )

  def place_tokens(self, hidden: Array, actions: Array) -> tuple[Array, Array]:
    sharding = functools.partial(jax.NamedSharding, self.mesh)
    return (
      jax.reshard(hidden, sharding(self.hidden)),
      jax.reshard(actions, sharding(self.tokens)),
    )

  def gather(self, unembedding: Array, dtype: str) -> Array:
    """The unembedding gathered over D, cast to `dtype` before the transfer."""
    whole: Array = jax.reshard(
      unembedding.astype(dtype), jax.NamedSharding(self.mesh, self.unembedding)
    )
    return whole

  def sum_over_tokens(self, d_unembedding: Array) -> Array:
    """On a shard: the sum over all shards of the tokens, scattered over `width`."""
    for axis in self.width:
      d_unembedding = jax.lax.psum_scatter(d_unembedding, axis, scatter_dimension=0, tiled=True)
    others = set(self.rows + self.time) - set(self.width)
    summed: Array = jax.lax.psum(d_unembedding, tuple(others))
    return summed

  def on_shards(self, f: Callable[..., Any], out: Any) -> Callable[..., Any]:
    """Maps f over the devices' shards; f does its own reductions over devices."""
    mapped = jax.shard_map(
      f,
      mesh=self.mesh,
      out_specs=out,
      axis_names=frozenset(_explicit_axes(self.mesh)),
      check_vma=False,
    )

    def on_shards(*args: Array) -> Any:
      # Without the check, results lose the manual axes of an enclosing shard_map.
      return jax.tree.map(lambda x: varying_alike(x, *args)[0], mapped(*args))

    return on_shards


def vocab_layout(
  hidden: Float[Array, "B T D"], unembedding: Float[Array, "D V"]
) -> VocabLayout | None:
  """The layout given by the operands' types; None without Explicit axes.

  An axis that shards several of B, V and T goes to the first of them. D is not
  sharded: a sharded unembedding is gathered over D, and its gradient is
  scattered where the axis shards tokens too.
  """
  mesh = _mesh_of(hidden, unembedding)
  if not _explicit_axes(mesh):
    return None
  rows, time, _ = map(_names, jax.typeof(hidden).sharding.spec)
  width, vocab = map(_names, jax.typeof(unembedding).sharding.spec)
  vocab = tuple(name for name in vocab if name not in rows)
  time = tuple(name for name in time if name not in vocab)
  width = tuple(name for name in width if name in rows + time)
  return VocabLayout(mesh, rows, time, vocab, width)


def _mesh_of(*arrays: Any) -> AbstractMesh:
  """The mesh in context, or else that of the arrays' types; it may be empty."""
  mesh = jax.sharding.get_abstract_mesh()
  meshes = (jax.typeof(x).sharding.mesh for x in arrays if x is not None)
  return next((m for m in (mesh, *meshes) if not m.empty), mesh)


def _explicit_axes(mesh: AbstractMesh) -> tuple[str, ...]:
  kinds = zip(mesh.axis_names, mesh.axis_types)
  return tuple(name for name, kind in kinds if kind == AxisType.Explicit)


def _names(entry: str | tuple[str, ...] | None) -> tuple[str, ...]:
  """The mesh axes of one entry of a PartitionSpec."""
  if entry is None:
    return ()
  return (entry,) if isinstance(entry, str) else tuple(entry)
