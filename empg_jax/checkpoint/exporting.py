"""A model as a folder for `transformers`: weights, tokenizer and template, what ends a reply."""

from collections.abc import Iterator, Mapping
import pathlib
from typing import Any

from empg_jax import chat as chats
from empg_jax.chat import tokenizer_files
from empg_jax.chat.sentencepiece_chat import SentencePieceChat
from empg_jax.io import json_text
from empg_jax.models import families, folder
from empg_jax.models.decoder import Decoder
from empg_jax.models.source import read_json

DTYPES = ("float32", "bfloat16", "float16")
_GENERATION = "generation_config.json"


def write(model: Decoder, home: pathlib.Path, out: pathlib.Path, *, dtype: str) -> None:
  """Writes what `transformers` reads as this model with the tokenizer and the chat of another.

  Args:
    model: its parameters are all on devices of this process.
    home: the folder or GGUF file of the model that it was trained from.
    out: the folder; made if need be.
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
    from empg_jax.chat import as_transformers  # only where needed: transformers takes seconds

    as_transformers.write(chat, out)
  (out / _GENERATION).write_text(json_text.dumps(generation | ends, indent=2) + "\n")


def _special_ids(config: Mapping[str, Any]) -> dict[str, Any]:
  return {name: x for name, x in config.items() if name.endswith("token_id") and x is not None}


def _listed(config: Mapping[str, Any]) -> Iterator[int]:
  """The ids that end a reply: none, one or several."""
  ids = config.get("eos_token_id")
  yield from ids if isinstance(ids, list) else [] if ids is None else [ids]


def _for_any_tokenizer(config: dict[str, Any]) -> dict[str, Any]:
  """The config of a Qwen2 model as the same function's by another name.

  AutoTokenizer gives a model called qwen2 the text rules of Qwen2 whatever tokenizer.json says,
  and a model called seed_oss the tokenizer of its folder.
  """
  if config["model_type"] != "qwen2":
    return config
  name = "seed_oss"
  bare = dict(attention_dropout=0.0, residual_dropout=0.0)  # as Qwen2 has them
  return config | {"model_type": name, "architectures": [families.architecture(name)], **bare}
