"""The part of config.json that all families share."""

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
# Whole numbers from 1 to this, where present.
_WHOLE = dict.fromkeys((*_SHAPE, "num_key_value_heads", "head_dim"), 2**24) | dict(
  num_hidden_layers=10_000, max_position_embeddings=2**31
)
_EVERYWHERE = dict(
  hidden_act="silu",
  use_sliding_window=False,
  dual_chunk_attention_config=None,
  quantization_config=None,
  partial_rotary_factor=1.0,
)


def read(hf: Mapping[str, Any], *, only: Mapping[str, Any], **family: Any) -> DecoderConfig:
  """The config of a model that differs from Llama 2 only in `family`.

  Args:
    hf: a config.json.
    only: options of the family that must be absent or have these values.
    family: fields of DecoderConfig; `head_dim` is the default where config.json has none.

  Raises:
    ValueError: fields are missing, or the decoder does not support them; names all of them.
  """
  given = {name: value for name, value in hf.items() if value is not None}
  theta, scaling = _rope(given)
  faults = [f"{name} is missing" for name in _SHAPE if name not in given]
  faults += [
    f"{name} is {given[name]!r:.40}, not a whole number from 1 to {most}"
    for name, most in _WHOLE.items()
    if not _is_whole(given.get(name, 1), most)
  ]
  faults += [
    f"{name} is {x!r:.40}, not a number above 0"
    for name, x in (("rope_theta", theta), ("rms_norm_eps", given.get("rms_norm_eps", 1e-6)))
    if not _is_positive(x)
  ]
  if not isinstance(given.get("tie_word_embeddings", False), bool):
    faults.append(f"tie_word_embeddings is {given['tie_word_embeddings']!r:.40}, not true or false")
  faults += [
    f"{name} is {given[name]!r:.80}, and only {value!r} is supported"
    for name, value in {**_EVERYWHERE, **only}.items()
    if given.get(name, value) != value
  ]
  layers = given.get("layer_types", [])
  if not isinstance(layers, list) or any(layer != "full_attention" for layer in layers):
    faults.append("layer_types are not all full_attention, and nothing else is supported")
  if scaling.get("rope_type") not in ("default", "llama3"):
    faults.append(
      f"the rope scaling is of type {scaling.get('rope_type')!r:.80}, and only 'llama3' is"
      " supported"
    )
  if faults:
    raise ValueError(f"This {hf['model_type']} model cannot be used: {'; '.join(faults)}.")
  heads = given["num_attention_heads"]
  default_dim = family.pop("head_dim", given["hidden_size"] // heads)
  head_dim = given.get("head_dim", default_dim)
  if not head_dim or head_dim % 2:
    raise ValueError(f"This model cannot be used: its head_dim is {head_dim}, not an even number.")
  return DecoderConfig(
    model_type=hf["model_type"],
    **{name: given[name] for name in _SHAPE},
    num_key_value_heads=given.get("num_key_value_heads", heads),
    head_dim=head_dim,
    max_position_embeddings=given.get("max_position_embeddings", 2048),
    rope_theta=float(theta),
    rope_scaling=_llama3(scaling) if scaling["rope_type"] == "llama3" else None,
    rms_norm_eps=float(given.get("rms_norm_eps", 1e-6)),
    tie_word_embeddings=given.get("tie_word_embeddings", False),
    **family,
  )


def _rope(given: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
  """theta, and the scaling with its `rope_type`.

  transformers 5 writes both into `rope_parameters`; older versions wrote `rope_theta` and
  `rope_scaling`, whose type was first named `type`.
  """
  scaling = given.get("rope_parameters", given.get("rope_scaling", {}))
  if not isinstance(scaling, Mapping):
    raise ValueError(f"The rope scaling is {scaling!r:.80}: want an object or null.")
  scaling = dict(scaling)
  theta = scaling.pop("rope_theta", given.get("rope_theta", 10_000.0))
  kind = scaling.pop("type", "default")
  return theta, {"rope_type": kind, **scaling}


def _llama3(scaling: Mapping[str, Any]) -> Llama3Scaling:
  names = Llama3Scaling.__dataclass_fields__
  missing = [name for name in names if name not in scaling]
  if missing:
    raise ValueError(f"The llama3 rope scaling lacks {', '.join(missing)}.")
  wrong = [name for name in names if not _is_positive(scaling[name])]
  if wrong:
    came = f"{wrong[0]} {scaling[wrong[0]]!r:.40}"
    raise ValueError(f"The llama3 rope scaling has {came}: want a number above 0.")
  return Llama3Scaling(
    float(scaling["factor"]),
    float(scaling["low_freq_factor"]),
    float(scaling["high_freq_factor"]),
    int(scaling["original_max_position_embeddings"]),
  )


def _is_whole(x: Any, most: int) -> bool:
  return isinstance(x, int) and not isinstance(x, bool) and 1 <= x <= most


def _is_positive(x: Any) -> bool:
  return isinstance(x, (int, float)) and not isinstance(x, bool) and 0 < x < 1e30
