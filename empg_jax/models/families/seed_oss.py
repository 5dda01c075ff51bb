"""Seed-OSS: Qwen2 under another name, with a default head_dim of its own."""

from collections.abc import Mapping
from typing import Any

from empg_jax.models.decoder import DecoderConfig
from empg_jax.models.families import _shared

ARCHITECTURE = "SeedOssForCausalLM"


def config(hf: Mapping[str, Any]) -> DecoderConfig:
  """The decoder of a config.json of the family; raises ValueError if it is not supported."""
  only = dict(attention_bias=True, attention_out_bias=False, mlp_bias=False)
  return _shared.read(hf, only=only, attention_bias=True, head_dim=128)
