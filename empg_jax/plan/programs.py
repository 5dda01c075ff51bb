"""Traces the programs of a run for a mesh, from shapes and without computing anything."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import ml_collections

from empg_jax import algorithms
from empg_jax.distributed import sharding
from empg_jax.generation import cache as caching, layout, read as reading, write as writing
from empg_jax.kernels import hardware
from empg_jax.models import casting, lora
from empg_jax.models.decoder import Decoder, DecoderConfig
from empg_jax.models.value_head import ValueHead
from empg_jax.plan import flops
from empg_jax.training import score, setup, state as states
from empg_jax.training.step import train_step
from empg_jax.types import Batch


class Program(NamedTuple):
  """A traced program, with its tokens and model FLOPs."""

  name: str
  traced: jax.stages.Traced
  tokens: int
  model_flops: float  # for these tokens, on all chips
  loop: int = 1  # trips of its while loop; each reads all arguments


def count(config: ml_collections.ConfigDict, here: hardware.Platform) -> dict[str, int]:
  """How many programs of each kind a run compiles on some hardware, at most.

  An update for each length of rows; on hardware without branches, reading for each length of a
  piece and each span of the cache, and writing for each span.
  """
  spans = 1 if here.branches else len(caching.sizes(config.policy, here)["windows"])
  found = dict(
    train=len(config.pack.lengths), read=spans * len(config.policy.piece_lengths), write=spans
  )
  return found | dict(reshard=1) if here.whole_mesh else found


def train(config: ml_collections.ConfigDict, shape: DecoderConfig, mesh: Mesh) -> Program:
  """The update of a config's policy on one batch of the longest rows."""
  optimizer = setup.make_optimizer(config)
  algorithm = algorithms.make(**config.algorithm.to_dict())
  model = _model(config, shape, mesh)
  trained, base, reference = model, None, None
  if config.lora.rank:
    make = functools.partial(lora.create, **config.lora)
    trained, base = jax.eval_shape(make, model, jax.random.key(0)), model
  elif algorithm.uses_reference:
    reference = _cast(model, config.train.compute_dtype, mesh)
  head = ValueHead(shape.hidden_size) if algorithm.value_loss else None
  create = lambda trained, head: states.create(trained, optimizer, head)
  state = jax.eval_shape(create, trained, head)
  state = _placed(state, sharding.shardings(state, mesh))
  batch = _batch(_rows(config), _length(config), mesh)
  with jax.set_mesh(mesh):
    traced = train_step.trace(
      state,
      batch,
      reference=reference,
      base=base,
      algorithm=algorithm,
      optimizer=optimizer,
      temperature=config.policy.temperature,
      **config.train,
    )
  needed = flops.of_model(shape, _rows(config), _length(config))
  return Program("train step", traced, _rows(config) * _length(config), needed)


def reference(config: ml_collections.ConfigDict, shape: DecoderConfig, mesh: Mesh) -> Program:
  """Log-probabilities and entropies of one microbatch, as of a reference policy."""
  model = _cast(_model(config, shape, mesh), config.train.compute_dtype, mesh)
  rows, length = config.train.size, _length(config)
  stats = functools.partial(score.token_stats, compute_dtype=config.train.compute_dtype)
  with jax.set_mesh(mesh):
    traced = jax.jit(stats).trace(model, _batch(rows, length, mesh))
  return Program("score pass", traced, rows * length, flops.of_model(shape, rows, length) / 3)


def read(config: ml_collections.ConfigDict, shape: DecoderConfig, mesh: Mesh) -> Program:
  """Reads the longest pieces, in as many slots as read at a time, of the longest conversations."""
  c = config.policy
  piece = max(c.piece_lengths)
  with jax.set_mesh(mesh):
    model, cache, sizes = _decoding(config, shape, mesh)
    traced = reading.read.trace(
      model, cache, _of_slots(config, piece), *[_of_slots(config)] * 3,
      _number(), _number(), **sizes, rows=_rows_read(config, mesh),
    )  # fmt: skip
  rows = _rows_read(config, mesh) * _row_shards(mesh)
  return Program("read", traced, rows * piece, flops.of_model(shape, rows, piece) / 3)


def write(config: ml_collections.ConfigDict, shape: DecoderConfig, mesh: Mesh) -> Program:
  """Samples a few tokens in every slot, of the longest conversations."""
  c = config.policy
  tokens = min(hardware.of(mesh).tokens, c.max_reply)
  with jax.set_mesh(mesh):
    model, cache, sizes = _decoding(config, shape, mesh)
    traced = writing.write.trace(
      model, cache, writing.Turn(*[_of_slots(config)] * 6),
      jax.eval_shape(lambda: jax.random.key(0)), jax.ShapeDtypeStruct((), jnp.float32),
      _number(), **sizes, tokens=tokens, end_id=0,
    )  # fmt: skip
  needed = flops.of_model(shape, c.slots, tokens) / 3
  return Program("write", traced, c.slots * tokens, needed, loop=tokens)


def _decoding(config, shape: DecoderConfig, mesh: Mesh) -> tuple[Decoder, Any, dict[str, Any]]:
  """The sampling policy and its cache, with all spans of the cache in use."""
  dtype = jnp.dtype(config.policy.compute_dtype)
  layers = hardware.of(mesh).decode_layers
  prepare = functools.partial(layout.prepare, dtype=dtype, layers=layers)
  model = jax.eval_shape(prepare, _model(config, shape, mesh))
  model = _placed(model, sharding.shardings(model, mesh, (sharding.TENSOR,)))
  sizes = caching.sizes(config.policy, hardware.of(mesh))
  cache = jax.eval_shape(lambda: caching.empty(shape, **sizes, dtype=dtype))
  windows = sizes["windows"]
  spans = None if hardware.of(mesh).branches else len(windows)
  cache = _placed(cache, layout.cache_shardings(cache, mesh))
  return model, cache, dict(windows=windows, spans=spans)


def _of_slots(config, *rest: int) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct((config.policy.slots, *rest), jnp.int32)


def _number() -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct((), jnp.int32)


def _row_shards(mesh: Mesh) -> int:
  return mesh.shape[sharding.DATA] * mesh.shape[sharding.FSDP]


def _rows_read(config, mesh: Mesh) -> int:
  return min(hardware.of(mesh).rows, config.policy.slots // _row_shards(mesh))


def reshard(config: ml_collections.ConfigDict, shape: DecoderConfig, mesh: Mesh) -> Program:
  """Reshards the policy from the training layout to the decoding layout."""
  model = _model(config, shape, mesh)
  program = layout.for_decoding(mesh, model, jnp.dtype(config.policy.compute_dtype))
  with jax.set_mesh(mesh):
    return Program("reshard", program.trace(model), 0, 0.0)


def _model(config, shape: DecoderConfig, mesh: Mesh) -> Decoder:
  """The result of models.folder.load as shapes, in the config's dtype."""
  model = jax.eval_shape(lambda: Decoder(shape, jax.random.key(0)))
  dtype = jnp.dtype(config.model.dtype)
  model = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, dtype), model)
  return _placed(model, sharding.shardings(model, mesh))


def _cast(model: Decoder, dtype, mesh: Mesh) -> Decoder:
  model = jax.eval_shape(lambda model: casting.cast(model, dtype), model)
  return _placed(model, sharding.shardings(model, mesh))


def _rows(config) -> int:
  return config.rollout.tasks * config.rollout.group_size


def _length(config) -> int:
  return max(config.pack.lengths)


def _batch(rows: int, length: int, mesh: Mesh) -> Batch:
  token = lambda dtype: jax.ShapeDtypeStruct((rows, length), dtype)
  row = lambda dtype: jax.ShapeDtypeStruct((rows,), dtype)
  shapes = Batch(
    tokens=token(jnp.int32),
    actions=token(jnp.int32),
    steps=token(jnp.int32),
    behavior_logprobs=token(jnp.float32),
    behavior_entropy=token(jnp.float32),
    rewards=token(jnp.float32),
    anchors=token(jnp.int32),
    returns=row(jnp.float32),
    group_ids=row(jnp.int32),
    episode_ids=row(jnp.int32),
  )
  divided = NamedSharding(mesh, PartitionSpec(sharding.ROWS))
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=divided), shapes)


def _placed(shapes: Any, places: Any) -> Any:
  put = lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)
  return jax.tree.map(put, shapes, places)
