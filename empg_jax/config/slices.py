"""The TPU slices and GPUs of the released models' presets."""

from typing import NamedTuple


class Slice(NamedTuple):
  """The smallest common hardware for a model, and the layout of a run on it."""

  model: str  # plan.shapes.KNOWN
  topology: str  # plan.chips
  fsdp: int
  tensor: int  # a divisor of the key/value heads
  slots: int  # conversations; their cache fits twice
  max_length: int = 32768
  size: int = 0  # rows of a microbatch; 0: one for each group of chips that share a layer
  rank: int = 0  # of adapters; 0: the whole model is trained


# By preset; presets for GPUs end with the GPU. test_fitting.py checks that each fits.
MODELS = {
  "qwen2.5-1.5b": Slice("qwen2.5-1.5b", "v5e:2x4", 4, 2, slots=32),  # or v6e:2x4
  "qwen2.5-7b": Slice("qwen2.5-7b", "v5e:8x8", 16, 4, slots=32),  # or v5p:4x4x4
  "qwen2.5-32b": Slice("qwen2.5-32b", "v5p:4x4x8", 16, 8, slots=64),
  "qwen3-4b": Slice("qwen3-4b", "v5e:4x8", 8, 4, slots=32),
  "qwen3-8b": Slice("qwen3-8b", "v5e:8x8", 16, 4, slots=32),
  "llama3.1-8b": Slice("llama3.1-8b", "v5e:8x8", 16, 4, slots=32),
  "qwen2.5-0.5b-h100": Slice("qwen2.5-0.5b", "h100:1", 1, 1, slots=64, max_length=16384, size=4),
  "qwen2.5-1.5b-h100": Slice("qwen2.5-1.5b", "h100:1", 1, 1, slots=32, max_length=16384, size=2),
  "qwen2.5-7b-h100": Slice("qwen2.5-7b", "h100:1", 1, 1, slots=12, max_length=16384, rank=32),
  "qwen2.5-7b-h100x8": Slice("qwen2.5-7b", "h100:8", 8, 1, slots=64),
}
_SIZES = {"1.5b": "qwen2.5-1.5b", "7b": "qwen2.5-7b", "32b": "qwen2.5-32b", "8b": "llama3.1-8b"}


def of(preset: str) -> Slice | None:
  """The hardware of a released model's preset, including the paper's presets."""
  paper = preset.startswith("paper-")
  return MODELS.get(_SIZES.get(preset.rpartition("-")[2], "") if paper else preset)
