"""GGUF files of small models, dequantised: arch llama, qwen2 and qwen3."""

import functools
import pathlib
import re
from typing import Any

import gguf
import numpy as np

from empg_jax.io import gguf_reader
from empg_jax.models import families, tying

_ARCHS = ("llama", "qwen2", "qwen3")
_OUTSIDE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_INSIDE = {
  "attn_norm": "input_layernorm",
  "attn_q": "self_attn.q_proj",
  "attn_k": "self_attn.k_proj",
  "attn_v": "self_attn.v_proj",
  "attn_output": "self_attn.o_proj",
  "attn_q_norm": "self_attn.q_norm",
  "attn_k_norm": "self_attn.k_norm",
  "ffn_norm": "post_attention_layernorm",
  "ffn_gate": "mlp.gate_proj",
  "ffn_up": "mlp.up_proj",
  "ffn_down": "mlp.down_proj",
}
_CONFIG = {
  "hidden_size": "embedding_length",
  "intermediate_size": "feed_forward_length",
  "num_hidden_layers": "block_count",
  "num_attention_heads": "attention.head_count",
  "num_key_value_heads": "attention.head_count_kv",
  "head_dim": "attention.key_length",
  "rms_norm_eps": "attention.layer_norm_rms_epsilon",
  "rope_theta": "rope.freq_base",
  "max_position_embeddings": "context_length",
}


class Gguf:
  """A Source over one GGUF file.

  Raises:
    ValueError: it is not a GGUF file, or its architecture is unknown.
  """

  def __init__(self, file: pathlib.Path):
    self._reader = gguf_reader.read(file)
    self.faults, self.notes = [], []
    self._tensors = {_name(tensor.name): tensor for tensor in self._reader.tensors}
    if self._keeps_one_matrix_twice():
      self._tie(file)
    self.shapes = {
      name: tuple(int(n) for n in reversed(tensor.shape)) for name, tensor in self._tensors.items()
    }
    self.config = self._config(file)

  def _keeps_one_matrix_twice(self) -> bool:
    """Whether the head is the embedding quantised separately, as some converters do."""
    pair = [self._tensors.get(name) for name in (tying.EMBEDDING, tying.HEAD)]
    if None in pair or {len(x.shape) for x in pair} != {2} or any(pair[0].shape != pair[1].shape):
      return False
    rows = lambda tensor: lambda chosen: _values(tensor, tensor.data[chosen])
    return tying.alike(*map(rows, pair), int(pair[0].shape[1]))

  def _tie(self, file: pathlib.Path) -> None:
    """Keeps the copy with more bits as the embedding."""
    head, embedding = self._tensors.pop(tying.HEAD), self._tensors[tying.EMBEDDING]
    kept = max(head, embedding, key=lambda x: x.n_bytes)
    self._tensors[tying.EMBEDDING] = kept
    self.notes.append(
      f"{file} holds one matrix twice, as {embedding.name} ({embedding.tensor_type.name}) and as"
      f" {head.name} ({head.tensor_type.name}): only {kept.name} is used."
    )

  def _config(self, file: pathlib.Path) -> dict[str, Any]:
    value = functools.partial(gguf_reader.value, self._reader)
    arch = value("general.architecture")
    if arch not in _ARCHS:
      raise ValueError(
        f"{file} holds a model of architecture {arch!r}; only {', '.join(_ARCHS)} can be read."
      )
    config = {name: value(f"{arch}.{key}") for name, key in _CONFIG.items()}
    scaling = value(f"{arch}.rope.scaling.type")
    return config | {
      "architectures": [families.architecture(arch)],
      "model_type": arch,
      "vocab_size": next(iter(self.shapes.get("model.embed_tokens.weight", ())), None),
      "tie_word_embeddings": "lm_head.weight" not in self.shapes,
      "rope_scaling": None if scaling in (None, "none") else {"type": scaling},
      "bos_token_id": value("tokenizer.ggml.bos_token_id"),
      "eos_token_id": value("tokenizer.ggml.eos_token_id"),
    }

  def read(self, name: str, index: tuple[slice, ...], dtype: np.dtype) -> np.ndarray:
    tensor = self._tensors[name]
    values = _values(tensor, tensor.data).reshape(self.shapes[name])
    if self.config["model_type"] == "llama":
      heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
      heads = heads.get(name.split(".")[-2])
      values = values if heads is None else _half_split(values, self.config[heads])
    return np.ascontiguousarray(values[index].astype(dtype))


def _values(tensor: gguf.ReaderTensor, data: np.ndarray) -> np.ndarray:
  """The values of a tensor's data, or of some of its rows."""
  try:
    return gguf.quants.dequantize(data, tensor.tensor_type)
  except NotImplementedError as error:
    raise ValueError(
      f"{tensor.name} is of type {tensor.tensor_type.name}, which cannot be read: convert it to"
      " another one, such as Q8_0."
    ) from error


def _half_split(rows: np.ndarray, heads: int) -> np.ndarray:
  """The rows of each head from (x0, y0, x1, y1, ...), as arch llama stores them, to (x, y)."""
  pairs = rows.reshape(heads, -1, 2, *rows.shape[1:])
  return pairs.swapaxes(1, 2).reshape(rows.shape)


def _name(theirs: str) -> str:
  """`model.layers.0.mlp.up_proj.weight` for `blk.0.ffn_up.weight`; other names are unchanged."""
  match = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)", theirs)
  if match is None:
    return theirs
  layer, module, kind = match.groups()
  ours = (_OUTSIDE if layer is None else _INSIDE).get(module)
  if ours is None:
    return theirs
  return f"{ours}.{kind}" if layer is None else f"model.layers.{layer}.{ours}.{kind}"
