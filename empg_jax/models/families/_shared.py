"""What the families read in the same way."""

from collections.abc import Mapping
from typing import Any

from empg_jax.models.decoder import DecoderConfig
from empg_jax.models.rotary import Llama3Scaling

_SHAPE = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
)
_EVERYWHERE = dict(
    hidden_act="silu",
    use_sliding_window=False,
    dual_chunk_attention_config=None,
    quantization_config=None,
    partial_rotary_factor=1.0,
)


def read(hf: Mapping[str, Any], *, only: Mapping[str, Any], **family: Any) -> DecoderConfig:
  """The config of a model that differs from Llama 2 by `family` alone.

  Args:
    hf: a config.json.
    only: options of the family that have to be absent or have these values.
    family: fields of DecoderConfig; `head_dim` is taken where config.json has none.

  Raises:
    ValueError: something is missing, or not as the decoder has it; all of it is named.
  """
  given = {name: value for name, value in hf.items() if value is not None}
  theta, scaling = _rope(given)
  faults = [f"{name} is missing" for name in _SHAPE if name not in given]
  faults += [
      f"{name} is {given[name]!r}, and only {value!r} is supported"
      for name, value in {**_EVERYWHERE, **only}.items()
      if given.get(name, value) != value
  ]
  if set(given.get("layer_types", ())) - {"full_attention"}:
    faults.append("layer_types are not all full_attention, and nothing else is supported")
  if scaling.get("rope_type") not in ("default", "llama3"):
    faults.append(
        f"the rope scaling is of type {scaling.get('rope_type')!r}, and only 'llama3' is supported"
    )
  if faults:
    raise ValueError(f"This {hf['model_type']} model cannot be used: {'; '.join(faults)}.")
  heads = given["num_attention_heads"]
  default_dim = family.pop("head_dim", given["hidden_size"] // heads)
  return DecoderConfig(
      model_type=hf["model_type"],
      **{name: given[name] for name in _SHAPE},
      num_key_value_heads=given.get("num_key_value_heads", heads),
      head_dim=given.get("head_dim", default_dim),
      max_position_embeddings=given.get("max_position_embeddings", 2048),
      rope_theta=float(theta),
      rope_scaling=_llama3(scaling) if scaling["rope_type"] == "llama3" else None,
      rms_norm_eps=float(given.get("rms_norm_eps", 1e-6)),
      tie_word_embeddings=given.get("tie_word_embeddings", False),
      **family,
  )


def _rope(given: Mapping[str, Any]) -> tuple[float, dict[str, Any]]:
  """theta, and the scaling with its `rope_type`.

  transformers 5 writes both into `rope_parameters`; before it was `rope_theta` and
  `rope_scaling`, whose type was once named `type`.
  """
  scaling = dict(given.get("rope_parameters", given.get("rope_scaling", {})))
  theta = scaling.pop("rope_theta", given.get("rope_theta", 10_000.0))
  kind = scaling.pop("type", "default")
  return theta, {"rope_type": kind, **scaling}


def _llama3(scaling: Mapping[str, Any]) -> Llama3Scaling:
  names = Llama3Scaling.__dataclass_fields__
  missing = [name for name in names if name not in scaling]
  if missing:
    raise ValueError(f"The llama3 rope scaling lacks {', '.join(missing)}.")
  return Llama3Scaling(
      float(scaling["factor"]),
      float(scaling["low_freq_factor"]),
      float(scaling["high_freq_factor"]),
      int(scaling["original_max_position_embeddings"]),
  )
