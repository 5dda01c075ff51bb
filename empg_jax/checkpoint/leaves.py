"""The leaves of a state by name, and the records by which they are checked on restore."""

from collections.abc import Mapping, Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree, UInt32
import numpy as np

Path = tuple[str, ...]  # of a leaf in its state: ("model", "layers", "0", "weight")


class MisfitError(ValueError):
  """A checkpoint is intact, but of another state than the template."""


def check_unchanged(found: Mapping[Path, Any], saved: Mapping[str, list]) -> None:
  """Raises ValueError, on all hosts, unless the leaves equal those that were saved."""
  changed = [name for name, leaf in described(found).items() if leaf != saved[name]]
  if changed:
    raise ValueError(f"not what was saved: {', '.join(changed)}")


def leaves(state: PyTree) -> dict[Path, Any]:
  """The leaves of a state by their paths."""
  found = {}
  for keys, leaf in jax.tree_util.tree_leaves_with_path(state):
    path = tuple(jax.tree_util.keystr((key,), simple=True) for key in keys)
    if jax.dtypes.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key):
      raise ValueError(f"{'.'.join(path)} is a random key: derive it from the step instead")
    found[path] = leaf
  return found


def nested(leaves: Mapping[Path, Any]) -> dict[str, Any]:
  """Nested dicts with one level for each part of a path."""
  tree: dict[str, Any] = {}
  for path, leaf in leaves.items():
    inner = functools.reduce(lambda node, part: node.setdefault(part, {}), path[:-1], tree)
    inner[path[-1]] = leaf
  return tree


def array(leaf: Any) -> Any:
  """A number as an array of shape (); arrays and `jax.ShapeDtypeStruct`s unchanged."""
  return leaf if isinstance(leaf, (jax.Array, jax.ShapeDtypeStruct)) else np.asarray(leaf)


def target(leaf: Any) -> Any:
  """The target from which Orbax restores a leaf like the template's."""
  if isinstance(leaf, jax.Array):
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
  return array(leaf)


def like_template(leaf: Any, found: Any) -> Any:
  """The restored leaf, converted to a number where the template has a number."""
  arrays = (jax.Array, jax.ShapeDtypeStruct, np.ndarray)
  return found if isinstance(leaf, arrays) else type(leaf)(found)


def described(leaves: Mapping[Path, Any]) -> dict[str, list]:
  """[dtype, shape, checksum] of each leaf, by its dotted name."""
  on_device = {path: leaf for path, leaf in leaves.items() if isinstance(leaf, jax.Array)}
  sums = dict(zip(on_device, jax.device_get(_checksums(list(on_device.values())))))
  return {
    ".".join(path): [
      str(leaf.dtype),
      list(leaf.shape),
      int(sums[path]) if path in sums else _checksum(leaf),
    ]
    for path, leaf in leaves.items()
  }


@jax.jit
def _checksums(leaves: Sequence[Array]) -> Sequence[UInt32[Array, ""]]:
  """Sums modulo 2^32 of the arrays' bits as unsigned words, computed on the devices."""

  def checksum(leaf):
    if leaf.dtype == bool:
      words = leaf.astype(jnp.uint8)
    else:
      words = jax.lax.bitcast_convert_type(leaf, f"uint{8 * min(leaf.dtype.itemsize, 4)}")
    return jnp.sum(words, dtype=jnp.uint32)

  return [checksum(leaf) for leaf in leaves]


def _checksum(leaf: np.ndarray) -> int:
  """`_checksums` of one array on the host."""
  words = leaf.reshape(-1).view(f"uint{8 * min(leaf.dtype.itemsize, 4)}")
  return int(np.sum(words, dtype=np.uint64) % 2**32)


def check_fit(where: str, saved: Mapping[str, list], wanted: Mapping[Path, Any]) -> None:
  """Raises MisfitError unless the leaves of a checkpoint are those of the template."""
  there = {name: f"{dtype}{shape}" for name, (dtype, shape, _) in saved.items()}
  here = {}
  for path, leaf in wanted.items():
    wanted_array = array(leaf)
    here[".".join(path)] = f"{wanted_array.dtype}{list(wanted_array.shape)}"
  misfits = [
    f"{name} is {there.get(name, 'not')} there and {here.get(name, 'not')} here"
    for name in sorted(there.keys() | here.keys())
    if there.get(name) != here.get(name)
  ]
  if misfits:
    more = f"; and {len(misfits) - 5} more" if len(misfits) > 5 else ""
    raise MisfitError(
      f"the checkpoint {where} is of another model or optimizer: {'; '.join(misfits[:5])}{more}"
    )
