"""What a run keeps in memory from step to step, told from shapes: nothing is loaded."""

from collections.abc import Callable
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import AbstractMesh, Mesh

from empg_jax import algorithms, sharding
from empg_jax.generation import cache as caching
from empg_jax.models import casting, lora
from empg_jax.models.decoder import Decoder, DecoderConfig
from empg_jax.training import state as states

TOKEN_BYTES = 4 * 7  # of types.Batch, a token: four int32 and three float32


class Item(NamedTuple):
  """One thing that is kept; bytes."""

  name: str
  total: int  # once, on all devices together, where they divide it
  device: int  # on one device of the mesh


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
  """What a run of launch/train.py keeps, the largest it may be.

  Activations and other temporaries of a program are not in it; plan.compiling has them.

  Args:
    config: of the run.
    shape: of its model.
    mesh: over which it is divided.
    copies: of the policy that samples, where it is not divided over the mesh.
  """
  dtype = jnp.dtype(config.policy.compute_dtype)
  model = jax.eval_shape(lambda: Decoder(shape, jax.random.key(0)))
  held = _typed(model, config.model.dtype)
  trained = held
  if config.lora.rank:
    make = functools.partial(lora.create, **config.lora)
    trained = jax.eval_shape(make, held, jax.random.key(0))
  moments = jax.eval_shape(states.make_optimizer(**config.optimizer).init, trained)
  found = [_item(f"parameters ({config.model.dtype})", held, mesh)]
  if config.lora.rank:
    found.append(_item(f"adapters of rank {config.lora.rank}", trained, mesh))
  found += [
      _item("AdamW's moments", moments, mesh),
      _item("gradient", trained, mesh),
  ]
  if algorithms.make(**config.algorithm.to_dict()).uses_reference and not config.lora.rank:
    cast = lambda model: casting.cast(model, config.train.compute_dtype)
    found.append(_item("reference policy", jax.eval_shape(cast, held), mesh))
  sampling = jax.eval_shape(lambda model: casting.cast(model, dtype), held)
  found.append(_copied("policy that samples", sampling, mesh, copies))
  return [*found, _cache(config, shape, mesh, dtype), _batch(config, mesh)]


def _cache(config, shape: DecoderConfig, mesh, dtype) -> Item:
  c = config.policy
  capacity = c.max_length + max(c.max_reply, *c.piece_lengths)
  make: Callable[[], Any] = lambda: caching.empty(
      shape, c.slots, capacity, c.max_reply, dtype
  )
  halves = min(2, -(-_rows(config) // c.slots))
  total = halves * _bytes(jax.eval_shape(make))
  heads = math.gcd(mesh.shape[sharding.TENSOR], shape.num_key_value_heads)
  name = f"KV cache, {halves} x {c.slots} conversations of {c.max_length:,} tokens"
  return Item(name, total, total // (_over_rows(mesh) * heads))


def _batch(config, mesh) -> Item:
  rows, length = _rows(config), max(config.pack.lengths)
  total = rows * length * TOKEN_BYTES
  return Item(f"batch, {rows} x {length:,} tokens", total, total // _over_rows(mesh))


def _item(name: str, tree: Any, mesh, axes=sharding.AXES) -> Item:
  """A tree of parameters, or of what lies as they do."""
  places = jax.tree.leaves(sharding.shardings(tree, mesh, axes))
  parts = [
      math.prod(place.shard_shape(leaf.shape)) * leaf.dtype.itemsize
      for leaf, place in zip(jax.tree.leaves(tree), places)
  ]
  return Item(name, _bytes(tree), sum(parts))


def _copied(name: str, tree: Any, mesh, copies: int) -> Item:
  """Divided over the axis `tensor` alone, or whole, so many times."""
  item = _item(name, tree, mesh, (sharding.TENSOR,))
  if copies == 1:
    return item
  return Item(f"{name}, {copies} copies", copies * item.total, copies * item.device)


def _typed(model: Any, dtype: str) -> Any:
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.dtype(dtype)), model)


def _bytes(tree: Any) -> int:
  return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _rows(config) -> int:
  return config.rollout.tasks * config.rollout.group_size


def _over_rows(mesh) -> int:
  return mesh.shape[sharding.DATA] * mesh.shape[sharding.FSDP]
