"""GGUF files are read as the model that they were made from."""

import dataclasses
import pathlib

import gguf
import jax
import numpy as np
import pytest

from empg_jax.distributed import sharding
from empg_jax.models import folder, tensor_names
from empg_jax.models.decoder import Decoder, DecoderConfig

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "models"
MESH = sharding.make_mesh()
NAMES = {
  "model.embed_tokens": "token_embd",
  "model.norm": "output_norm",
  "lm_head": "output",
  "input_layernorm": "attn_norm",
  "post_attention_layernorm": "ffn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  "self_attn.q_norm": "attn_q_norm",
  "self_attn.k_norm": "attn_k_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
}


def interleaved(rows, heads):
  """Rows of q or k as arch llama stores them: each head's halves in turn."""
  halves = rows.reshape(heads, 2, -1, rows.shape[-1])
  return halves.swapaxes(1, 2).reshape(rows.shape)


def write(model, path, quantise=None, output=None):
  """A GGUF file of the model, as llama.cpp's converter writes it; `output` is quantised to Q8_0."""
  c, writer = model.config, gguf.GGUFWriter(path, model.config.model_type)
  writer.add_context_length(c.max_position_embeddings)
  writer.add_embedding_length(c.hidden_size)
  writer.add_block_count(c.num_hidden_layers)
  writer.add_feed_forward_length(c.intermediate_size)
  writer.add_head_count(c.num_attention_heads)
  writer.add_head_count_kv(c.num_key_value_heads)
  writer.add_key_length(c.head_dim)
  writer.add_layer_norm_rms_eps(c.rms_norm_eps)
  writer.add_rope_freq_base(c.rope_theta)
  leaves = {tensor_names.leaf_name(p): x for p, x in jax.tree_util.tree_leaves_with_path(model)}
  for name in tensor_names.shapes(model):
    x = np.asarray(tensor_names.tensor(leaves, name))
    module, kind = name.rsplit(".", 1)
    if c.model_type == "llama" and module.endswith(("q_proj", "k_proj")):
      q = module.endswith("q_proj")
      x = interleaved(x, c.num_attention_heads if q else c.num_key_value_heads)
    block = ""
    if module.startswith(tensor_names.STACKED):
      index, module = module.removeprefix(tensor_names.STACKED).split(".", 1)
      block = f"blk.{index}."
    packed = quantise is not None and x.ndim == 2 and x.shape[1] % 32 == 0
    data = gguf.quants.quantize(x, quantise) if packed else x
    writer.add_tensor(
      f"{block}{NAMES[module]}.{kind}", data, raw_dtype=quantise if packed else None
    )
  if output is not None:
    q8_0 = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor("output.weight", gguf.quants.quantize(output, q8_0), raw_dtype=q8_0)
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()


@pytest.mark.parametrize("case", ["llama2", "qwen2-tied", "qwen2-untied", "qwen3"])
def test_a_gguf_file_is_read_as_the_model_it_was_made_from(case, tmp_path):
  model = folder.load(GOLDEN / case, MESH)
  write(model, tmp_path / "model.gguf")
  back = folder.load(tmp_path / "model.gguf", MESH)
  assert back.config.rms_norm_eps == pytest.approx(model.config.rms_norm_eps, rel=1e-6)
  eps = model.config.rms_norm_eps  # which GGUF keeps in float32
  assert dataclasses.replace(back.config, rms_norm_eps=eps) == model.config
  jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(back), jax.tree.leaves(model))


def test_quantised_tensors_come_back_nearly(tmp_path):
  model = Decoder(DecoderConfig(40, 32, 64, 1, 2, 2, 16), jax.random.key(0))
  write(model, tmp_path / "model.gguf", gguf.GGMLQuantizationType.Q8_0)
  back = folder.load(tmp_path / "model.gguf", MESH)
  for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(model)):
    np.testing.assert_allclose(a, b, atol=float(np.abs(b).max()) / 200)
  assert any(np.any(a != b) for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(model)))


def test_a_head_that_is_the_embedding_quantised_anew_is_kept_once(tmp_path, capsys):
  model = Decoder(DecoderConfig(40, 32, 64, 1, 2, 2, 16), jax.random.key(0))
  embedding = np.asarray(model.model.embed_tokens.weight[...])
  write(model, tmp_path / "tied.gguf", gguf.GGMLQuantizationType.Q5_0, embedding)
  back = folder.load(tmp_path / "tied.gguf", MESH)
  assert back.config == dataclasses.replace(model.config, rms_norm_eps=back.config.rms_norm_eps)
  # The eight-bit copy is kept, not the five-bit one.
  error = np.abs(back.unembedding.T - embedding).max() / np.abs(embedding).max()
  assert error < 1 / 200
  warning = "holds one matrix twice, as token_embd.weight (Q5_0) and as output.weight (Q8_0)"
  assert warning in capsys.readouterr().err
  noise = np.random.default_rng(0).normal(size=embedding.shape).astype(np.float32)
  other = embedding + 0.3 * embedding.std() * noise  # a cosine of 0.96
  write(model, tmp_path / "untied.gguf", gguf.GGMLQuantizationType.Q5_0, other)
  back = folder.load(tmp_path / "untied.gguf", MESH)
  assert not back.config.tie_word_embeddings and not capsys.readouterr().err
  np.testing.assert_allclose(back.unembedding.T, other, atol=np.abs(other).max() / 200)


def test_another_architecture_and_a_damaged_file_are_refused(tmp_path):
  writer = gguf.GGUFWriter(tmp_path / "gemma.gguf", "gemma")
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.close()
  with pytest.raises(ValueError, match="architecture 'gemma'; only llama, qwen2, qwen3"):
    folder.load(tmp_path / "gemma.gguf", MESH)
  (tmp_path / "empty.gguf").write_bytes(b"GGUF")
  with pytest.raises(ValueError, match="empty.gguf is not a complete GGUF file"):
    folder.load(tmp_path / "empty.gguf", MESH)
