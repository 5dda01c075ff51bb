"""Qwen2 and Qwen2.5: biases on the projections to queries, keys and values."""

from collections.abc import Mapping
from typing import Any

from empg_jax.models.decoder import DecoderConfig
from empg_jax.models.families import _shared

ARCHITECTURE = "Qwen2ForCausalLM"


def config(hf: Mapping[str, Any]) -> DecoderConfig:
  """The decoder that a config.json of the family describes; ValueError if it cannot be run."""
  return _shared.read(hf, only={}, attention_bias=True)
