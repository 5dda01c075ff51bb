"""A model survives its Hugging Face folder, and a wrong folder is told in one sentence."""

import json

import jax
import numpy as np
import pytest
from safetensors import numpy as safetensors

from empg_jax.models import folder
from empg_jax.models.decoder import Decoder, DecoderConfig


@pytest.fixture
def model():
  return Decoder(DecoderConfig(13, 8, 12, 2, 2, 1, 4), jax.random.key(0))


def test_a_model_comes_back_bit_for_bit(model, tmp_path):
  folder.save(model, tmp_path)
  back = folder.load(tmp_path)
  assert jax.tree.structure(back) == jax.tree.structure(model)
  jax.tree.map(np.testing.assert_array_equal, back, model)


def test_the_tensors_are_named_as_transformers_names_them(model, tmp_path):
  folder.save(model, tmp_path)
  tensors = safetensors.load_file(tmp_path / "model.safetensors")
  assert tensors["model.layers.1.self_attn.q_proj.weight"].shape == (8, 8)
  assert tensors["model.embed_tokens.weight"].shape == (13, 8)
  assert len(tensors) == 2 + 2 * 12
  assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "qwen2"


def test_every_wrong_tensor_is_named_at_once(model, tmp_path):
  folder.save(model, tmp_path)
  tensors = safetensors.load_file(tmp_path / "model.safetensors")
  tensors["model.norm.scale"] = tensors.pop("model.norm.weight")
  tensors["model.layers.0.mlp.up_proj.weight"] = np.zeros((3, 3), np.float32)
  safetensors.save_file(tensors, tmp_path / "model.safetensors")
  with pytest.raises(ValueError) as error:
    folder.load(tmp_path)
  for part in (
      "model.norm.weight is missing",
      "model.norm.scale is unexpected",
      "model.layers.0.mlp.up_proj.weight has shape (3, 3), wanted (12, 8)",
  ):
    assert part in str(error.value)


def test_a_missing_folder_is_told(tmp_path):
  with pytest.raises(FileNotFoundError, match="no config.json"):
    folder.load(tmp_path)
  with pytest.raises(FileNotFoundError, match="There is no model in no-such"):
    folder.locate("no-such")


def test_transformers_reads_the_folder_and_computes_the_same_logits(model, tmp_path):
  torch = pytest.importorskip("torch", reason="torch is not installed")
  transformers = pytest.importorskip("transformers")
  folder.save(model, tmp_path)
  theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
  tokens = np.random.default_rng(0).integers(0, 13, (2, 40)).astype(np.int32)
  with torch.no_grad():
    want = theirs(torch.tensor(tokens, dtype=torch.long)).logits.numpy()
  np.testing.assert_allclose(model(tokens) @ model.unembedding, want, atol=1e-4)
