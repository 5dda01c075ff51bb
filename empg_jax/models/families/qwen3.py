"""Qwen3: no biases, and a norm over each head of queries and keys."""

from collections.abc import Mapping
from typing import Any

from empg_jax.models.decoder import DecoderConfig
from empg_jax.models.families import _shared

ARCHITECTURE = "Qwen3ForCausalLM"


def config(hf: Mapping[str, Any]) -> DecoderConfig:
  """The decoder of a config.json of the family; raises ValueError if it is not supported."""
  only = dict(attention_bias=False)
  return _shared.read(hf, only=only, attention_bias=False, qk_norm=True, head_dim=128)
