"""Each family's logits are Hugging Face's, and its config.json is read or refused."""

import json
import pathlib

import jax
import numpy as np
import pytest
from safetensors import numpy as safetensors

from empg_jax.distributed import sharding
from empg_jax.models import families, folder
from empg_jax.models.rotary import Llama3Scaling

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "models"
CASES = sorted(home.name for home in GOLDEN.iterdir())
MESH = sharding.make_mesh()
SHAPE = dict(
  vocab_size=48,
  hidden_size=24,
  intermediate_size=40,
  num_hidden_layers=3,
  num_attention_heads=4,
  num_key_value_heads=2,
)
LLAMA3 = dict(
  factor=8.0,
  low_freq_factor=1.0,
  high_freq_factor=4.0,
  original_max_position_embeddings=8192,
)


def logits(model, tokens):
  return jax.jit(lambda m, x: m(x) @ m.unembedding)(model, tokens)


def golden_config(case):
  return json.loads((GOLDEN / case / "config.json").read_text())


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_hugging_faces(case):
  model = folder.load(GOLDEN / case, MESH)
  expected = safetensors.load_file(GOLDEN / case / "expected.safetensors")
  got = logits(model, expected["tokens"])
  assert np.abs(got - expected["logits"]).max() < 1e-4
  assert np.std(expected["logits"]) > 1


@pytest.mark.parametrize("case", CASES)
def test_transformers_makes_the_same_logits_of_what_is_saved(case, tmp_path):
  torch = pytest.importorskip("torch", reason="torch is not installed")
  transformers = pytest.importorskip("transformers")
  model = folder.load(GOLDEN / case, MESH)
  folder.save(model, tmp_path)
  theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
  tokens = np.random.default_rng(1).integers(0, 48, (2, 200)).astype(np.int32)
  with torch.no_grad():
    want = theirs(torch.tensor(tokens, dtype=torch.long)).logits.numpy()
  assert np.abs(logits(model, tokens) - want).max() < 1e-4


@pytest.mark.parametrize("case", CASES)
def test_a_written_config_is_read_as_the_same_decoder(case):
  config = families.config(golden_config(case))
  again = json.loads(json.dumps(families.to_hugging_face(config)))
  assert again["architectures"] == golden_config(case)["architectures"]
  assert families.config(again) == config


def test_rope_options_are_read_from_old_and_new_configs():
  llama = {"model_type": "llama", **SHAPE}
  for rope in (
    {"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", **LLAMA3}},
    {"rope_theta": 5e5, "rope_scaling": {"type": "llama3", **LLAMA3}},
    {"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, **LLAMA3}},
  ):
    config = families.config(llama | rope)
    assert config.rope_theta == 5e5
    assert config.rope_scaling == Llama3Scaling(8.0, 1.0, 4.0, 8192)
  for rope in ({}, {"rope_scaling": None}, {"rope_parameters": {"rope_type": "default"}}):
    config = families.config(llama | rope)
    assert (config.rope_theta, config.rope_scaling) == (1e4, None)


def test_head_dim_defaults_to_that_of_the_family():
  assert families.config({"model_type": "qwen2", **SHAPE}).head_dim == 6
  assert families.config({"model_type": "qwen3", **SHAPE}).head_dim == 128
  assert families.config({"model_type": "qwen3", "head_dim": 16, **SHAPE}).head_dim == 16


@pytest.mark.parametrize(
    "model_type, options, message",
    [
        ("mistral", {}, "'mistral' cannot be used: .* there are llama, qwen2, qwen3"),
        ("qwen2_moe", {}, "did you mean 'qwen2'"),
        ("qwen2", {"use_sliding_window": True}, "use_sliding_window is True, and only False"),
        ("qwen2", {"layer_types": ["sliding_attention"]}, "layer_types are not all full"),
        ("qwen2", {"rope_scaling": {"type": "yarn", "factor": 4.0}}, "of type 'yarn', and only"),
        ("qwen3", {"attention_bias": True}, "attention_bias is True, and only False"),
        ("llama", {"mlp_bias": True}, "mlp_bias is True, and only False"),
        ("llama", {"hidden_act": "gelu"}, "hidden_act is 'gelu', and only 'silu'"),
        ("llama", {"quantization_config": {"bits": 4}}, "quantization_config is {'bits': 4}"),
        ("llama", {"hidden_size": None, "mlp_bias": True}, "hidden_size is missing; mlp_bias is"),
        ("llama", {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "lacks low_freq"),
        ("llama", {"rope_scaling": {"rope_type": "llama3", **LLAMA3, "low_freq_factor": 4.0}},
         "must be above 0 and below the second"),
    ],
)  # fmt: skip
def test_unsupported_options_are_refused(model_type, options, message):
  with pytest.raises(ValueError, match=message):
    families.config({"model_type": model_type, **SHAPE, **options})
