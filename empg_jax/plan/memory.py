"""The memory that a run keeps between its programs, computed from shapes without loading."""

from collections.abc import Callable, Sequence
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, Mesh
import ml_collections

from empg_jax import algorithms
from empg_jax.distributed import sharding
from empg_jax.generation import cache as caching
from empg_jax.kernels import hardware
from empg_jax.models import casting, lora
from empg_jax.models.decoder import Decoder, DecoderConfig
from empg_jax.training import setup

TOKEN_BYTES = 4 * 7  # of types.Batch, per token: four int32 and three float32


SAMPLING = ("read", "write")
PROGRAMS = ("train", *SAMPLING, "reshard")  # a run executes one at a time


class Item(NamedTuple):
  """Something in memory; sizes in bytes."""

  name: str
  total: int  # without replication
  device: int  # on one device of the mesh
  lives: tuple[str, ...] = PROGRAMS  # the programs during which it exists
  inside: tuple[str, ...] = ()  # of these, those whose peak includes it


def needs(items: Sequence[Item], program: str, peak: int | None = None) -> int:
  """Bytes on one device while a program of PROGRAMS runs.

  Args:
    items: of the run.
    program: one of PROGRAMS.
    peak: of the compiled program, with arguments, results and temporaries; None: unknown, and
      temporaries do not count.
  """
  living = [item for item in items if program in item.lives]
  if peak is None:
    return sum(item.device for item in living)
  return peak + sum(item.device for item in living if program not in item.inside)


def count(shape: DecoderConfig) -> int:
  """Parameters of a decoder."""
  leaves = jax.tree.leaves(jax.eval_shape(lambda: Decoder(shape, jax.random.key(0))))
  return sum(math.prod(leaf.shape) for leaf in leaves)


def items(
  config: ml_collections.ConfigDict,
  shape: DecoderConfig,
  mesh: Mesh | AbstractMesh,
  copies: int = 1,
) -> list[Item]:
  """What a run of launch/train.py keeps in memory, at its largest.

  Excludes activations and other temporaries of a program; plan.compiling has them. With
  rollout.ahead=1 those of a turn come on top of the update's.

  Args:
    config: of the run.
    shape: of its model.
    mesh: of the run.
    copies: of the sampling policy, where it is not sharded over the mesh.
  """
  dtype = jnp.dtype(config.policy.compute_dtype)
  model = jax.eval_shape(lambda: Decoder(shape, jax.random.key(0)))
  held = _typed(model, config.model.dtype)
  trained = held
  if config.lora.rank:
    make = functools.partial(lora.create, **config.lora)
    trained = jax.eval_shape(make, held, jax.random.key(0))
  moments = jax.eval_shape(setup.make_optimizer(config).init, trained)
  whole = not config.lora.rank
  found = [
    _item(f"parameters ({config.model.dtype})", held, mesh)._replace(
      inside=("train", "reshard") if whole else ("train",)
    )
  ]
  if not whole:
    found.append(_item(f"adapters of rank {config.lora.rank}", trained, mesh, "train"))
    merged = _item("adapters merged into the parameters", held, mesh, "reshard")
    found.append(merged._replace(lives=("reshard",)))
  found += [
    _item("AdamW's moments", moments, mesh, "train"),
    _item("gradient", trained, mesh, "train")._replace(lives=("train",)),
  ]
  if algorithms.make(**config.algorithm.to_dict()).uses_reference and whole:
    cast = lambda model: casting.cast(model, config.train.compute_dtype)
    found.append(_item("reference policy", jax.eval_shape(cast, held), mesh, "train"))
  sampling = jax.eval_shape(lambda model: casting.cast(model, dtype), held)
  found.append(_copied("policy that samples", sampling, mesh, copies))
  found += [_caches(config, shape, mesh, dtype, copies), _batch(config, mesh)]
  return _overlapping(found, trained, mesh) if config.rollout.get("ahead", 0) else found


def _overlapping(found: Sequence[Item], trained: Any, mesh) -> list[Item]:
  """With rollout.ahead=1 an update runs while the policy samples from a copy of its own."""
  beside = [
    item._replace(lives=(*item.lives, "train"))
    if "write" in item.lives and "train" not in item.lives
    else item
    for item in found
  ]
  copy = _item("copy of what is trained, to sample ahead", trained, mesh)
  before = copy._replace(name="copy of the step before", lives=(*SAMPLING, "reshard"))
  return [*beside, copy, before]


def _caches(config, shape: DecoderConfig, mesh, dtype, copies: int) -> Item:
  """The slots' cache; where devices decode separately, the caches of those with episodes."""
  c = config.policy
  sizes = caching.sizes(c, hardware.current())
  make: Callable[[], Any] = lambda: caching.empty(shape, **sizes, dtype=dtype)
  sets = min(copies, -(-_rows(config) // c.slots))
  total = sets * _bytes(jax.eval_shape(make))
  heads = math.gcd(mesh.shape[sharding.TENSOR], shape.num_key_value_heads)
  name = f"KV cache, {sets * c.slots} conversations of {c.max_length:,} tokens"
  return Item(name, total, total // (_over_rows(mesh) * heads), SAMPLING, SAMPLING)


def _batch(config, mesh) -> Item:
  rows, length = _rows(config), max(config.pack.lengths)
  total = rows * length * TOKEN_BYTES
  device = total // _over_rows(mesh)
  return Item(f"batch, {rows} x {length:,} tokens", total, device, ("train",), ("train",))


def _item(name: str, tree: Any, mesh, *inside: str, axes=sharding.AXES) -> Item:
  """A tree of parameters, or one sharded like them."""
  places = jax.tree.leaves(sharding.shardings(tree, mesh, axes))
  parts = [
    math.prod(place.shard_shape(leaf.shape)) * leaf.dtype.itemsize
    for leaf, place in zip(jax.tree.leaves(tree), places)
  ]
  return Item(name, _bytes(tree), sum(parts), inside=inside)


def _copied(name: str, tree: Any, mesh, copies: int) -> Item:
  """A tree sharded over the axis `tensor` only, or several whole copies."""
  item = _item(name, tree, mesh, *SAMPLING, "reshard", axes=(sharding.TENSOR,))
  item = item._replace(lives=(*SAMPLING, "reshard"))
  if copies == 1:
    return item
  return item._replace(
    name=f"{name}, {copies} copies", total=copies * item.total, device=copies * item.device
  )


def _typed(model: Any, dtype: str) -> Any:
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.dtype(dtype)), model)


def _bytes(tree: Any) -> int:
  return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _rows(config) -> int:
  return config.rollout.tasks * config.rollout.group_size


def _over_rows(mesh) -> int:
  return mesh.shape[sharding.DATA] * mesh.shape[sharding.FSDP]
