"""Shapes of models, also of released ones without their weights."""

from empg_jax.config import slices
from empg_jax.models import families, folder
from empg_jax.models.decoder import DecoderConfig


def _shape(width, hidden, layers, heads, kv_heads, vocab, **rest) -> DecoderConfig:
  return DecoderConfig(
    vocab_size=vocab,
    hidden_size=width,
    intermediate_size=hidden,
    num_hidden_layers=layers,
    num_attention_heads=heads,
    num_key_value_heads=kv_heads,
    **{"head_dim": 128, "tie_word_embeddings": False, **rest},
  )


_QWEN3 = dict(model_type="qwen3", attention_bias=False, qk_norm=True)
_LLAMA = dict(model_type="llama", attention_bias=False, rope_theta=5e5)

# From each config.json on https://huggingface.co.
KNOWN = {
  "qwen2.5-0.5b": _shape(896, 4864, 24, 14, 2, 151_936, head_dim=64, tie_word_embeddings=True),
  "qwen2.5-1.5b": _shape(1536, 8960, 28, 12, 2, 151_936, tie_word_embeddings=True),
  "qwen2.5-7b": _shape(3584, 18_944, 28, 28, 4, 152_064),
  "qwen2.5-32b": _shape(5120, 27_648, 64, 40, 8, 152_064),
  "qwen3-4b": _shape(2560, 9728, 36, 32, 8, 151_936, tie_word_embeddings=True, **_QWEN3),
  "qwen3-8b": _shape(4096, 12_288, 36, 32, 8, 151_936, **_QWEN3),
  "llama3.1-8b": _shape(4096, 14_336, 32, 32, 8, 128_256, **_LLAMA),
}


def of(path: str, preset: str) -> DecoderConfig:
  """The shape of the model in a folder or file; with an empty path, of the preset's model.

  Raises:
    FileNotFoundError: there is no such model.
    ValueError: the path is empty and the preset has no known model.
  """
  if path:
    return families.config(folder.open_source(path).config)
  known = of_preset(preset)
  if known is None:
    raise ValueError(
      f"The preset {preset!r} has no released model whose shape is known: choose one of"
      f" {', '.join(slices.MODELS)}, or give --config.model.path=FOLDER."
    )
  return known


def of_preset(preset: str) -> DecoderConfig | None:
  """The shape of a preset's released model; None if it has none."""
  made = slices.of(preset)
  return None if made is None else KNOWN[made.model]
