"""Any files in place of a model are read as one or refused with a one-line error."""

import json
import struct

import damage
import gguf
from hypothesis import given, settings, strategies as st
import numpy as np
import pytest
from safetensors import numpy as safetensors

from empg_jax import chat as chats
from empg_jax.distributed import sharding
from empg_jax.models import families, folder

MESH = sharding.make_mesh()
CONFIG = {
    "model_type": "llama", "vocab_size": 16, "hidden_size": 8, "intermediate_size": 12,
    "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4,
    "rms_norm_eps": 1e-6, "rope_theta": 1e4, "max_position_embeddings": 64, "hidden_act": "silu",
    "tie_word_embeddings": True, "layer_types": ["full_attention"],
    "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                     "high_freq_factor": 4.0, "original_max_position_embeddings": 32},
}  # fmt: skip
SHAPES = {
  "model.embed_tokens": (16, 8), "model.norm": (8,),
  "model.layers.0.input_layernorm": (8,), "model.layers.0.post_attention_layernorm": (8,),
  "model.layers.0.self_attn.q_proj": (8, 8), "model.layers.0.self_attn.k_proj": (4, 8),
  "model.layers.0.self_attn.v_proj": (4, 8), "model.layers.0.self_attn.o_proj": (8, 8),
  "model.layers.0.mlp.gate_proj": (12, 8), "model.layers.0.mlp.up_proj": (12, 8),
  "model.layers.0.mlp.down_proj": (8, 12),
}  # fmt: skip
TENSORS = {f"{name}.weight": np.ones(shape, np.float32) for name, shape in SHAPES.items()}
WHOLE = safetensors.save(TENSORS)
HEADER = json.loads(WHOLE[8 : 8 + int.from_bytes(WHOLE[:8], "little")])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
  return tmp_path_factory.mktemp("model")


def put(home, config=json.dumps(CONFIG).encode(), weights=WHOLE):
  (home / "config.json").write_bytes(config)
  (home / "model.safetensors").write_bytes(weights)
  return home


def opened(path):
  """All tensors of the source at `path`, if it can be read."""
  source = damage.answered(folder.open_source, path)
  if source is None:
    return None
  damage.answered(families.config, source.config)
  for name, shape in source.shapes.items():
    if shape and np.prod(shape, dtype=object) in range(1, 10**4) and not source.faults:
      damage.answered(source.read, name, (slice(None),) * len(shape), np.dtype(np.float32))
  return source


def test_the_whole_folder_is_a_model(home):
  assert folder.load(put(home), MESH).config.hidden_size == 8


@settings(max_examples=30)
@given(config=damage.values(CONFIG))
def test_another_config_makes_a_model_or_is_refused(home, config):
  damage.answered(folder.load, put(home, config=json.dumps(config).encode()), MESH)


@settings(max_examples=100)
@given(config=damage.values(CONFIG))
def test_another_config_describes_a_model_or_is_refused(home, config):
  if isinstance(config, dict):
    damage.answered(families.config, json.loads(json.dumps(config)))


@pytest.mark.parametrize(
  ("change", "sentence"),
  [
    ({"hidden_size": "8"}, "hidden_size is '8', not a whole number from 1 to 16777216"),
    ({"num_attention_heads": 0}, "num_attention_heads is 0, not a whole number"),
    ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000, not a whole number"),
    ({"rope_theta": []}, r"rope_theta is \[\], not a number above 0"),
    ({"tie_word_embeddings": 1}, "tie_word_embeddings is 1, not true or false"),
    ({"layer_types": 5}, "layer_types are not all full_attention"),
    ({"layer_types": [[]]}, "layer_types are not all full_attention"),
    ({"rope_scaling": 5}, "The rope scaling is 5: want an object or null"),
    ({"rope_scaling": CONFIG["rope_scaling"] | {"factor": "8"}}, "has factor '8': want a number"),
    ({"head_dim": 3}, "its head_dim is 3, not an even number"),
    ({"model_type": "a\nb"}, r"type 'a\\nb' cannot be used: .* has no module 'a\\nb'"),
  ],
  ids=range(11),
)
def test_an_impossible_config_is_refused(change, sentence):
  with pytest.raises(ValueError, match=sentence):
    families.config(CONFIG | change)


@settings(max_examples=100)
@given(header=damage.values(HEADER))
def test_another_header_is_read_or_refused(home, header):
  text = json.dumps(header).encode()
  opened(put(home, weights=len(text).to_bytes(8, "little") + text + WHOLE[-1500:]))


@settings(max_examples=60)
@given(weights=damage.contents(WHOLE), config=damage.contents(json.dumps(CONFIG).encode()))
def test_damaged_files_are_read_or_refused(home, weights, config):
  opened(put(home, weights=weights))
  opened(put(home, config=config))


@pytest.mark.parametrize(
    ("places", "sentence"),
    [(None, "has no weight_map"), ([], "has no weight_map"), ({"a": 7}, "has no weight_map"),
     ({"a": "../../etc/passwd"}, "the file passwd is missing")],
    ids=range(4),
)  # fmt: skip
def test_an_index_leads_to_files_of_its_folder(tmp_path, places, sentence):
  put(tmp_path)
  (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
  with pytest.raises(ValueError, match=sentence):
    folder.load(tmp_path, MESH)


def test_integer_tensors_are_refused(tmp_path):
  put(tmp_path, weights=safetensors.save(TENSORS | {"model.norm.weight": np.ones(8, np.int8)}))
  with pytest.raises(ValueError, match="model.norm.weight is of type I8, not of F64, F32, F16"):
    folder.load(tmp_path, MESH)


def written(path):
  """The bytes of a GGUF file with a tokenizer."""
  writer = gguf.GGUFWriter(path, "qwen2")
  writer.add_embedding_length(8)
  writer.add_feed_forward_length(12)
  writer.add_block_count(1)
  writer.add_head_count(2)
  writer.add_layer_norm_rms_eps(1e-6)
  writer.add_tokenizer_model("gpt2")
  writer.add_tokenizer_pre("qwen2")
  writer.add_token_list(["a", "b", "ab", "<|im_end|>"])
  writer.add_token_types([1, 1, 1, 3])
  writer.add_token_merges(["a b"])
  writer.add_eos_token_id(3)
  writer.add_chat_template("{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}")
  writer.add_tensor("token_embd.weight", np.ones((16, 8), np.float32))
  writer.add_tensor("output_norm.weight", np.ones(8, np.float32))
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
  return path.read_bytes()


@pytest.fixture(scope="module")
def content(home):
  return written(home / "whole.gguf")


@settings(max_examples=100)
@given(data=st.data())
def test_a_damaged_gguf_file_is_read_or_refused(home, content, data):
  head = len(content) - 600  # the tensors' bytes end the file
  path = home / "model.gguf"
  path.write_bytes(data.draw(damage.contents(content[:head])) + content[head:])
  opened(path)
  damage.answered(chats.load, path)


def test_a_whole_gguf_file_is_read(tmp_path):
  written(tmp_path / "a.gguf")
  assert opened(tmp_path / "a.gguf").shapes["model.embed_tokens.weight"] == (16, 8)


@pytest.mark.parametrize("kind", [0, 8, 9])  # integers, strings, lists
def test_a_gguf_file_that_promises_more_than_it_holds_is_refused(tmp_path, kind):
  head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q1sI", 1, b"a", 9)
  (tmp_path / "a.gguf").write_bytes(head + struct.pack("<IQ", kind, 2**60) + bytes(100))
  with pytest.raises(ValueError, match="a.gguf is not a complete GGUF file"):
    folder.open_source(tmp_path / "a.gguf")


def test_a_gguf_file_that_nests_without_end_is_refused(tmp_path):
  head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q1sI", 1, b"a", 9)
  (tmp_path / "a.gguf").write_bytes(head + struct.pack("<IQ", 9, 1) * 10_000)
  with pytest.raises(ValueError, match="a.gguf is not a complete GGUF file"):
    folder.open_source(tmp_path / "a.gguf")
