"""Describes what launch/train.py would do, without doing it."""

from collections.abc import Iterator
import math
from types import ModuleType
from typing import Any

import jax
from jax.sharding import AbstractMesh, AxisType
import psutil

from empg_jax import checkpoint, workers
from empg_jax.config import config as configs, slices
from empg_jax.distributed import sharding
from empg_jax.io import cache, json_text, paths, words
from empg_jax.kernels import hardware
from empg_jax.models import fetching, folder
from empg_jax.models.decoder import DecoderConfig
from empg_jax.plan import chips, fitting, memory, programs, shapes
from empg_jax.plan.compiling import TooLarge
from empg_jax.rollout import fitting as turns, play


class Missing(ValueError):
  """A run needs something that this machine does not have."""


def lines(
  config: Any,
  environment: ModuleType,
  workdir: paths.Path,
  preset: str,
  *,
  show_config: bool = False,
) -> Iterator[str]:
  """Yields lines about the model, tasks, memory, shapes and files, then what is missing.

  Writes and compiles nothing; starts a few episodes to check that they fit.

  Args:
    config: of a run, checked by settings.check.
    environment: the module of empg_jax.envs that the config names.
    workdir: of the run.
    preset: of the config; gives the model's shape where the model itself is missing.
    show_config: whether to print the whole config first.

  Raises:
    Missing: after the last line, if the run cannot start here.
  """
  if show_config:
    yield from [json_text.dumps(config.to_dict(), lossless=True, indent=2), ""]
  missing: list[str] = []
  shape = _shape(config, preset, missing)
  yield from ["MODEL", *_model(config, preset, shape)]
  yield from ["", "TASKS", *_tasks(config, environment, missing)]
  if not missing:
    _check_turns(config, environment, missing)
  if shape is not None:
    yield from ["", *_memory(config, shape, preset, missing)]
  yield from ["", "SHAPES", *_shapes(config)]
  yield from ["", "FILES", *_files(config, workdir)]
  if missing:
    yield from ["", "MISSING", *(f"  {sentence}" for sentence in missing)]
    count = "One thing is" if len(missing) == 1 else f"{len(missing)} things are"
    raise Missing(f"This run cannot start here: {count} missing.")


def devices(config: Any) -> int:
  """The number of devices of the config's mesh, or of this machine if it has more."""
  named = (size for size in (config.mesh[axis] for axis in sharding.AXES) if size > 0)
  return max(math.prod(named), jax.device_count())


def _shape(config, preset: str, missing: list[str]) -> DecoderConfig | None:
  """The model's shape: its own, or the preset's where the model is missing."""
  try:
    folder.locate(config.model.path)  # raises for an empty path, whatever the preset's shape
    shape = shapes.of(config.model.path, preset)
  except (FileNotFoundError, ValueError) as error:
    missing.append(str(error))
    shape = shapes.of_preset(preset)
  if shape is not None:
    _check_heads(config, shape)
  return shape


def _check_heads(config, shape: DecoderConfig) -> None:
  if _mesh(config).size > jax.device_count() or hardware.current().whole_heads:
    sharding.check_heads(shape.num_key_value_heads, config.mesh.tensor)


def _model(config, preset: str, shape: DecoderConfig | None) -> Iterator[str]:
  try:
    yield f"  {folder.locate(config.model.path)}"
  except (FileNotFoundError, ValueError):
    yield f"  {config.model.path or preset}: missing"
  if shape is not None:
    yield (
      f"  {shape.model_type}: {memory.count(shape):,} parameters, {shape.num_hidden_layers}"
      f" layers of width {shape.hidden_size}, a vocabulary of {shape.vocab_size:,}"
    )


def _tasks(config, environment: ModuleType, missing: list[str]) -> Iterator[str]:
  for split in ("train", *config.evaluation.splits):
    try:
      there = len(environment.tasks(split, **config.tasks))
    except (FileNotFoundError, ImportError, ValueError) as error:
      if str(error) not in missing:  # the same error for several splits is listed once
        alone = split != "train" and isinstance(error, ValueError)
        named = f"config.evaluation.splits names {split!r}: " if alone else ""
        missing.append(f"{named}{error}")
      yield f"  {split}: missing"
      continue
    played = "" if split == "train" else f", {min(there, config.evaluation.tasks)} are played"
    yield f"  {split}: {there:,}{played}"


def _check_turns(config, environment: ModuleType, missing: list[str]) -> None:
  settings = config.workers.to_dict() | dict(count=min(config.workers.count, 1))
  try:
    chat = folder.chat(config.model.path, **environment.REPLY | config.chat.to_dict())
    tasks = environment.tasks("train", **config.tasks)
    arguments = configs.arguments(config.env)
    with workers.environments(environment.__name__, arguments, **settings) as make_env:
      turns.check(config, chat, make_env, tasks, play.prompt(config, environment))
  except (FileNotFoundError, ImportError, ValueError) as error:
    missing.append(str(error))


def _memory(config, shape: DecoderConfig, preset: str, missing: list[str]) -> Iterator[str]:
  mesh = _mesh(config)
  taken, here = mesh.size, jax.device_count()
  on = words.count(taken, "device")
  yield f"MEMORY, MiB (the mesh takes {on}; here: {here} of {hardware.current().name})"
  if taken > here:
    missing.append(f"config.mesh takes {on}, and JAX finds {here}.")
  copies = here if taken == 1 and not hardware.current().whole_mesh else 1
  items = memory.items(config, shape, mesh, copies)
  width = max(len(item.name) for item in items)
  for item in items:
    share = f" {item.device / 2**20:>10,.1f} on each device" if taken > 1 else ""
    yield f"  {item.name:<{width}} {item.total / 2**20:>12,.1f}{share}"
  there, limit = _limit(mesh, preset)
  for phase, name in {fitting.PHASES[name]: name for name in memory.PROGRAMS}.items():
    needed = memory.needs(items, name) / 2**20
    yield f"  together in the {phase}: {needed:,.1f} on each device{there}"
  yield "  Temporaries come on top: launch/plan.py compiles the programs and adds them."
  if limit:
    missing.extend(_too_large(config, shape, mesh, copies, limit))


def _limit(mesh: AbstractMesh, preset: str) -> tuple[str, float]:
  """A device's memory, in words and in GiB; 0 where it is unknown.

  Of the devices here if there are enough, or else of the preset's hardware.
  """
  if mesh.size <= jax.device_count():
    stats = jax.local_devices()[0].memory_stats() or {}
    limit = stats.get("bytes_limit", psutil.virtual_memory().total) / 2**30
    return f", of {limit * 2**10:,.1f}", limit
  made = slices.of(preset)
  if made is None or chips.count(made.topology) != mesh.size:
    return "", 0.0
  limit = chips.of(made.topology).memory
  return f", of {limit * 2**10:,.1f} on {made.topology}", limit


def _too_large(config, shape, mesh, copies: int, limit: float) -> Iterator[str]:
  """A sentence about the largest phase if it does not fit, with settings that would."""
  check = lambda config: fitting.check(
    memory.items(config, shape, mesh, copies), dict.fromkeys(memory.PROGRAMS), limit
  )
  try:
    check(config)
  except TooLarge as error:
    least = mesh.shape[sharding.DATA] * mesh.shape[sharding.FSDP]
    advice = fitting.advice(fitting.of_rollout(config, least), check)
    yield f"Memory: the {fitting.PHASES[error.program]} does not fit: {error}; {advice}."


def _shapes(config) -> Iterator[str]:
  r, c, t = config.rollout, config.policy, config.train
  rows = r.tasks * r.group_size
  lengths = " or ".join(f"{n:,}" for n in sorted(config.pack.lengths))
  yield f"  rollout: {r.tasks} tasks x {r.group_size} episodes of at most {r.max_turns} turns"
  yield (
    f"  {c.slots} conversations at a time, pieces of {_listed(c.piece_lengths)} tokens, replies of"
    f" {c.max_reply}, windows of {_listed(c.windows)}"
  )
  window = "a row an episode" if r.window < 0 else f"a row a turn, after the {r.window} before it"
  yield f"  batch: [{rows}, {lengths}], {window}"
  pieces = rows // t.size // t.minibatches
  cut = f", cut to {_listed(t.lengths)} where they are short" if t.lengths else ""
  yield (
    f"  update: {t.epochs} x {t.minibatches} minibatches of {pieces} microbatches of {t.size}"
    f" rows{cut}"
  )


def _files(config, workdir: paths.Path) -> Iterator[str]:
  saved = checkpoint.steps(workdir / "checkpoints")
  if saved:
    yield f"  {workdir} goes on from step {max(saved)} of {config.num_steps}"
  else:
    yield f"  {workdir}: config.json, metrics.jsonl, checkpoints of {config.num_steps} steps"
  count = programs.count(config, hardware.current())
  sampling = count["read"] + count["write"]
  yield (
    f"  compiled programs, kept in {workdir / 'compiled'}: up to {count['train']} of the update,"
    f" and {sampling} to read and write on each device that samples"
  )
  yield f"  the environment's own files, if any: {cache.folder_for(config.env.name, '')}"
  path = config.model.path
  if paths.in_bucket(path) or fetching.is_hub_name(path) and not paths.of(path).exists():
    yield f"  the weights of {path} are fetched to this host, unless they are there"
  else:
    yield "  nothing is downloaded"


def _mesh(config) -> AbstractMesh:
  """The config's mesh, even if larger than this machine; an axis of 0 takes the devices here."""
  sizes = [config.mesh[axis] for axis in sharding.AXES]
  rest = max(jax.device_count() // math.prod(size for size in sizes if size), 1)
  sizes = tuple(size or rest for size in sizes)
  return AbstractMesh(sizes, sharding.AXES, axis_types=(AxisType.Auto,) * 3)


def _listed(values) -> str:
  return ", ".join(f"{value:,}" for value in sorted(values))
