"""The model families, one file each: how their config.json maps to the decoder.

A family is found by the `model_type` of its config.json and defines

    ARCHITECTURE    the transformers class that computes the same function
    config(hf)      the DecoderConfig of a config.json
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

from empg_jax.config import lookup
from empg_jax.models.decoder import DecoderConfig

_IMPLIED = ("attention_bias", "qk_norm")  # the family determines them


def config(hf: Mapping[str, Any]) -> DecoderConfig:
  """The decoder that a config.json describes.

  Raises:
    ValueError: its family is unknown, or it has options that the decoder does not have.
  """
  model_type = str(hf.get("model_type"))
  try:
    family = lookup.find(__name__, model_type)
  except ValueError as error:
    raise ValueError(f"A model of type {model_type!r:.80} cannot be used: {error}.") from None
  return family.config(hf)


def architecture(model_type: str) -> str:
  """The transformers class of a family."""
  return lookup.find(__name__, model_type).ARCHITECTURE


def to_hugging_face(config: DecoderConfig) -> dict[str, Any]:
  """A config.json from which transformers 4 and 5 make the same model."""
  shape = {name: x for name, x in dataclasses.asdict(config).items() if name not in _IMPLIED}
  if config.rope_scaling is not None:
    shape["rope_scaling"] |= {"rope_type": "llama3"}
  return {"architectures": [architecture(config.model_type)], "hidden_act": "silu", **shape}
