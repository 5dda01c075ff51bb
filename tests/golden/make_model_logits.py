"""Makes tests/golden/models: small random checkpoints of each family, and their logits.

  python tests/golden/make_model_logits.py

needs transformers and torch. Each folder is as transformers saves it, in bfloat16 to be
small, with expected.safetensors: tokens [1, T] and logits [1, T, V], computed in float32.
"""

import pathlib
import shutil

import numpy as np
from safetensors.numpy import save_file
import torch
import transformers

HOME = pathlib.Path(__file__).parent / "models"
SHAPE = dict(
  vocab_size=48,
  hidden_size=24,
  intermediate_size=40,
  num_hidden_layers=3,
  num_attention_heads=4,
  num_key_value_heads=2,
)
LLAMA3 = dict(
  rope_type="llama3",
  rope_theta=500_000.0,
  factor=8.0,
  low_freq_factor=1.0,
  high_freq_factor=4.0,
  original_max_position_embeddings=32,  # so that 40 tokens feel the scaling
)
rope = lambda theta: dict(rope_type="default", rope_theta=theta)
CONFIGS = {
  "qwen2-tied": transformers.Qwen2Config(
    **SHAPE, tie_word_embeddings=True, rope_parameters=rope(1e6), max_position_embeddings=64
  ),
  "qwen2-untied": transformers.Qwen2Config(
    **SHAPE, tie_word_embeddings=False, rope_parameters=rope(1e6), max_position_embeddings=64
  ),
  "qwen3": transformers.Qwen3Config(
    **SHAPE, head_dim=16, tie_word_embeddings=True, rope_parameters=rope(1e6)
  ),
  "llama3": transformers.LlamaConfig(
    **SHAPE, head_dim=8, tie_word_embeddings=False, rope_parameters=LLAMA3, rms_norm_eps=1e-5
  ),
  "llama2": transformers.LlamaConfig(
    **SHAPE, tie_word_embeddings=True, rope_parameters=rope(1e4), rms_norm_eps=1e-5
  ),
}


def make(name, config):
  """Every parameter moved well away from its initial 0 or 1, and rounded to bfloat16."""
  torch.manual_seed(0)
  model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
  with torch.no_grad():
    for parameter in model.parameters():
      parameter.add_(0.25 * torch.randn_like(parameter))
  home = HOME / name
  # The untied one in several files, as released checkpoints are.
  model.save_pretrained(home, max_shard_size="12KB" if name == "qwen2-untied" else "1GB")
  tokens = np.random.default_rng(0).integers(0, SHAPE["vocab_size"], (1, 40)).astype(np.int32)
  with torch.no_grad():
    logits = model.float()(torch.tensor(tokens, dtype=torch.long)).logits.numpy()
  save_file({"tokens": tokens, "logits": logits}, home / "expected.safetensors")
  print(f"{name}: logits of standard deviation {logits.std():.2f}")


if __name__ == "__main__":
  shutil.rmtree(HOME, ignore_errors=True)
  for name, config in CONFIGS.items():
    make(name, config)
