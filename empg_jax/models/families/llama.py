"""Llama 2 and 3, and what is built like them (SmolLM2): no biases; 3.1 scales its rotation."""

from collections.abc import Mapping
from typing import Any

from empg_jax.models.decoder import DecoderConfig
from empg_jax.models.families import _shared

ARCHITECTURE = "LlamaForCausalLM"


def config(hf: Mapping[str, Any]) -> DecoderConfig:
  """The decoder that a config.json of the family describes; ValueError if it cannot be run."""
  only = dict(attention_bias=False, mlp_bias=False)
  return _shared.read(hf, only=only, attention_bias=False)
