"""Exports a model as a folder for `transformers`: weights, tokenizer, template and end ids."""

from collections.abc import Iterator, Mapping
import pathlib
from typing import Any

from empg_jax import chat as chats
from empg_jax.chat import tokenizer_files
from empg_jax.chat.sentencepiece_chat import SentencePieceChat
from empg_jax.io import json_text, paths
from empg_jax.models import families, folder
from empg_jax.models.decoder import Decoder
from empg_jax.models.source import read_json

DTYPES = ("float32", "bfloat16", "float16")
_GENERATION = "generation_config.json"


def write(model: Decoder, home: pathlib.Path, out: paths.Path, *, dtype: str) -> None:
  """Writes a folder for `transformers`: this model with the tokenizer and chat of its original.

  Args:
    model: all its parameters are on devices of this process.
    home: the folder or GGUF file of the model that it was trained from.
    out: the folder; created if needed.
    dtype: one of DTYPES.

  Raises:
    ValueError: a weight is not finite, or too large for `dtype`.
  """
  chat, base = chats.load(home), folder.open_source(home).config
  file = home / _GENERATION
  generation = read_json(file) if file.is_file() else _special_ids(base)
  ends = list(dict.fromkeys([chat.end_id, *_listed(generation), *_listed(base)]))
  ends = {"eos_token_id": ends[0] if len(ends) == 1 else ends}
  config = {**base, **ends}
  if isinstance(chat, SentencePieceChat):
    config = _for_any_tokenizer(config)
  folder.save(model, out, dtype=dtype, config=config)
  tokenizer_files.copy(home, out)
  if isinstance(chat, SentencePieceChat):
    from empg_jax.chat import as_transformers  # here, because transformers takes seconds to import

    with paths.filled(out) as draft:
      as_transformers.write(chat, draft)
  paths.write(out / _GENERATION, json_text.dumps(generation | ends, indent=2) + "\n")


def _special_ids(config: Mapping[str, Any]) -> dict[str, Any]:
  return {name: x for name, x in config.items() if name.endswith("token_id") and x is not None}


def _listed(config: Mapping[str, Any]) -> Iterator[int]:
  """Yields the end-of-reply ids: none, one or several."""
  ids = config.get("eos_token_id")
  yield from ids if isinstance(ids, list) else [] if ids is None else [ids]


def _for_any_tokenizer(config: dict[str, Any]) -> dict[str, Any]:
  """The config of a Qwen2 model under the model_type of an equivalent architecture.

  For the model_type qwen2, AutoTokenizer applies Qwen2's text rules whatever tokenizer.json
  says; for seed_oss it takes the folder's own tokenizer.
  """
  if config["model_type"] != "qwen2":
    return config
  name = "seed_oss"
  bare = dict(attention_dropout=0.0, residual_dropout=0.0)  # as in Qwen2
  return config | {"model_type": name, "architectures": [families.architecture(name)], **bare}
