"""Qwen2 and Qwen2.5: biases on the query, key and value projections."""

from collections.abc import Mapping
from typing import Any

from empg_jax.models.decoder import DecoderConfig
from empg_jax.models.families import _shared

ARCHITECTURE = "Qwen2ForCausalLM"


def config(hf: Mapping[str, Any]) -> DecoderConfig:
  """The decoder of a config.json of the family; raises ValueError if it is not supported."""
  return _shared.read(hf, only={}, attention_bias=True)
