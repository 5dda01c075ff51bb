"""Llama 2 and 3, and models like them (SmolLM2): no biases; 3.1 scales its rotary embedding."""

from collections.abc import Mapping
from typing import Any

from empg_jax.models.decoder import DecoderConfig
from empg_jax.models.families import _shared

ARCHITECTURE = "LlamaForCausalLM"


def config(hf: Mapping[str, Any]) -> DecoderConfig:
  """The decoder of a config.json of the family; raises ValueError if it is not supported."""
  only = dict(attention_bias=False, mlp_bias=False)
  return _shared.read(hf, only=only, attention_bias=False)
