"""A decoder as a Hugging Face folder: config.json and model.safetensors."""

import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import numpy as safetensors

from empg_jax.models.decoder import Decoder, DecoderConfig

_FIELDS = DecoderConfig.__dataclass_fields__
_SHIPPED = pathlib.Path(__file__).resolve().parents[1] / "assets"
_STACKED = "model.layers."


def save(model: Decoder, folder: str | pathlib.Path, dtype: str = "float32") -> None:
  """Writes config.json and model.safetensors, the tensors under Hugging Face's names."""
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  config = {name: getattr(model.config, name) for name in _FIELDS if name != "attention_bias"}
  config |= {
      "architectures": ["Qwen2ForCausalLM"],
      "model_type": "qwen2",
      "hidden_act": "silu",
      "torch_dtype": dtype,
  }
  (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
  tensors = {name: np.asarray(x, jnp.dtype(dtype)) for name, x in _tensors(model).items()}
  safetensors.save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def locate(name: str) -> pathlib.Path:
  """The folder `name`, or the one of that name which the package ships.

  Raises:
    FileNotFoundError: there is neither.
  """
  shipped = sorted(path.name for path in _SHIPPED.iterdir()) if _SHIPPED.is_dir() else []
  for path in (pathlib.Path(name), _SHIPPED / name):
    if (path / "config.json").is_file():
      return path
  raise FileNotFoundError(
      f"There is no model in {name}: give a folder with config.json and model.safetensors, or one"
      f" of those that come with the package: {', '.join(shipped)}."
  )


def load(folder: str | pathlib.Path) -> Decoder:
  """Reads such a folder; the parameters come as float32.

  Raises:
    FileNotFoundError: the folder or one of its files is missing.
    ValueError: the tensors are not those of config.json; all that differ are named.
  """
  folder = pathlib.Path(folder)
  for file in ("config.json", "model.safetensors"):
    if not (folder / file).is_file():
      raise FileNotFoundError(
          f"There is no {file} in {folder}: give a folder with config.json and model.safetensors."
      )
  config = _config(json.loads((folder / "config.json").read_text()), folder)
  shapes = jax.eval_shape(lambda: Decoder(config, jax.random.key(0)))
  read = safetensors.load_file(folder / "model.safetensors")
  _check(read, {name: x.shape for name, x in _tensors(shapes).items()}, folder)

  def leaf(path, x):
    name = _name(path)
    if not name.startswith(_STACKED):
      return jnp.asarray(read[name], jnp.float32)
    layers = [read[_of_layer(name, i)] for i in range(config.num_hidden_layers)]
    return jnp.asarray(np.stack(layers), jnp.float32)

  return jax.tree_util.tree_map_with_path(leaf, shapes)


def _config(values: dict[str, Any], folder: pathlib.Path) -> DecoderConfig:
  if values.get("model_type") != "qwen2":
    raise ValueError(
        f"The model in {folder} is of type {values.get('model_type')!r}; only 'qwen2' can be read."
    )
  given = {name: values[name] for name in _FIELDS if name in values}
  given.setdefault("head_dim", values["hidden_size"] // values["num_attention_heads"])
  return DecoderConfig(**given)


def _name(path) -> str:
  """`model.layers.mlp.up_proj.weight` for a leaf of the model."""
  return ".".join(key.name for key in path[:-1])  # the last is the variable's `value`


def _of_layer(name: str, index: int) -> str:
  return f"{_STACKED}{index}.{name.removeprefix(_STACKED)}"


def _tensors(model: Decoder) -> dict[str, Any]:
  """Every tensor under its Hugging Face name, the layers apart."""
  tensors = {}
  for path, x in jax.tree_util.tree_leaves_with_path(model):
    name = _name(path)
    if not name.startswith(_STACKED):
      tensors[name] = x
      continue
    for i in range(x.shape[0]):
      layer = jax.ShapeDtypeStruct(x.shape[1:], x.dtype)
      tensors[_of_layer(name, i)] = layer if isinstance(x, jax.ShapeDtypeStruct) else x[i]
  return tensors


def _check(read: dict[str, np.ndarray], wanted: dict[str, tuple], folder: pathlib.Path) -> None:
  faults = [f"{name} is missing" for name in sorted(wanted.keys() - read.keys())]
  faults += [f"{name} is unexpected" for name in sorted(read.keys() - wanted.keys())]
  faults += [
      f"{name} has shape {read[name].shape}, wanted {wanted[name]}"
      for name in sorted(wanted.keys() & read.keys())
      if read[name].shape != wanted[name]
  ]
  if faults:
    raise ValueError(
        f"The tensors in {folder / 'model.safetensors'} are not those of its config.json: "
        + "; ".join(faults)
        + "."
    )
