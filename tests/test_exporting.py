"""`transformers` reads an export as the package does: ids, conversations, end of reply."""

import dataclasses
import itertools
import json
import os
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as safetensors
import transformers

from empg_jax import chat as chats, envs
from empg_jax.chat.sentencepiece_chat import SentencePieceChat
from empg_jax.checkpoint import exporting
from empg_jax.distributed import sharding
from empg_jax.models import folder
from empg_jax.models.decoder import Decoder, DecoderConfig

sys.path.append(str(pathlib.Path(__file__).parent / "chat"))
from families import tokenizer

MESH = sharding.make_mesh()
# Of each environment's demonstrations: options and number of turns.
ENVIRONMENTS = {"alfworld": ({"size": "small"}, 200), "webshop": ({}, 100), "deep_search": ({}, 40)}
STRANGE = ["", " ", "  a  ", "caf\u00e9 \u2603 \u6c34\n\n\t x", "aaaaaaa<think>", "\U0001f600\x00z"]


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def exported(request, tmp_path_factory):
  """An environment's name, its shipped policy's home, and the folder that it was written to."""
  home, out = folder.locate(f"{request.param}-tiny"), tmp_path_factory.mktemp("out")
  old = os.umask(0o027)
  exporting.write(folder.load(home, MESH), home, out, dtype="float32")
  os.umask(old)
  return request.param, home, out


def turns(name):
  options, count = ENVIRONMENTS[name]
  demos = envs.find(name).demonstrations(7, **options)
  return list(itertools.islice((turn for demo in demos for turn in demo.turns), count))


def test_export_transformers_reads_a_thousand_texts_as_the_same_ids(exported):
  assert 3 * sum(count for _, count in ENVIRONMENTS.values()) > 1000
  name, home, out = exported
  chat, auto = chats.load(home), transformers.AutoTokenizer.from_pretrained(out)
  texts = [*STRANGE, "go to drawer 1"]
  for turn in turns(name):
    reply = f"<think>{turn.thought}</think><action>{turn.action}</action>"
    texts += [turn.observation, turn.thought, reply]
  for text, ids in zip(texts, auto(texts)["input_ids"], strict=True):
    assert ids == chat.encode(text), text
    assert auto.decode(ids) == chat.text(ids) == text
  assert (len(auto), auto.eos_token_id) == (chat.vocab_size, chat.end_id)


@pytest.mark.parametrize("instructions", ["", "Be brief.\n"])
def test_export_transformers_holds_the_same_conversation(exported, instructions):
  name, home, out = exported
  chat, auto = chats.load(home, instructions), transformers.AutoTokenizer.from_pretrained(out)
  messages = [{"role": "system", "content": instructions}] if instructions else []
  ids = []
  for turn in turns(name)[:5]:
    messages.append({"role": "user", "content": turn.observation})
    read = chat.following(turn.observation, ended=True) if ids else chat.opening(turn.observation)
    ids += read
    got = auto.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    assert got == ids
    reply = f"<think>{turn.thought}</think><action>{turn.action}</action>"
    messages.append({"role": "assistant", "content": reply})
    ids += chat.reply(turn.thought, turn.action)
  assert auto.apply_chat_template(messages)["input_ids"] == ids


def test_export_is_read_here_as_the_same_model_and_chat(exported, tmp_path):
  _, home, out = exported
  model, back = folder.load(home, MESH), folder.load(out, MESH)
  jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(back), jax.tree.leaves(model))
  assert dataclasses.replace(back.config, model_type="qwen2") == model.config
  assert isinstance(folder.chat(out), SentencePieceChat)
  exporting.write(back, out, tmp_path, dtype="float32")  # a run may begin with what was exported
  assert (tmp_path / "tokenizer.json").read_bytes() == (out / "tokenizer.json").read_bytes()


def test_export_makes_every_file_with_the_umask(exported):
  *_, out = exported
  assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o640}


def test_export_lists_the_end_ids_of_the_base_and_of_the_chat(tmp_path):
  home, out, tok = tmp_path / "home", tmp_path / "out", tokenizer("qwen2.5")
  tok.save_pretrained(home)
  model = Decoder(DecoderConfig(len(tok), 8, 12, 1, 2, 1, 4), jax.random.key(0))
  base, end = tok.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"])
  folder.save(model, home)
  config = json.loads((home / "config.json").read_text())
  (home / "config.json").write_text(json.dumps(config | {"eos_token_id": base}))
  (home / "generation_config.json").write_text(json.dumps({"top_p": 0.8, "eos_token_id": [base]}))
  exporting.write(model, home, out, dtype="bfloat16")
  generation = transformers.GenerationConfig.from_pretrained(out)
  assert generation.eos_token_id == [end, base] and generation.top_p == 0.8
  config = transformers.AutoConfig.from_pretrained(out)
  assert (config.eos_token_id, config.model_type) == ([end, base], "qwen2")


def test_export_refuses_what_a_type_cannot_hold_and_a_diverged_model(tmp_path):
  model = Decoder(DecoderConfig(13, 8, 12, 2, 2, 1, 4), jax.random.key(0))
  weight = model.model.layers.mlp.up_proj.weight
  weight[...] = weight[...].at[1, 0, 0].set(7e4)
  folder.save(model, tmp_path / "fits", dtype="bfloat16")
  message = r"too large for float16: .* \(model.layers.1.mlp.up_proj.weight \(1\)\)"
  with pytest.raises(ValueError, match=message):
    folder.save(model, tmp_path / "out", dtype="float16")
  weight[...] = weight[...].at[0, :2, 0].set(jnp.nan)
  for dtype in ("float32", "float16"):
    with pytest.raises(ValueError, match=r"diverged: .*model.layers.0.mlp.up_proj.weight \(2\)"):
      folder.save(model, tmp_path / "out", dtype=dtype)
  assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_models_with_weights_that_are_not_finite_are_refused_by_name(dtype, tmp_path):
  folder.save(Decoder(DecoderConfig(13, 8, 12, 2, 2, 1, 4), jax.random.key(0)), tmp_path)
  tensors = safetensors.load_file(tmp_path / "model.safetensors")
  tensors["model.norm.weight"][[1, 3]] = np.nan, np.inf
  tensors["model.layers.1.self_attn.o_proj.weight"][0, 0] = -np.inf
  safetensors.save_file(tensors, tmp_path / "model.safetensors")
  mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
  with pytest.raises(ValueError, match="are not finite") as error:
    folder.load(tmp_path, mesh, dtype=dtype)
  for message in ("model.norm.weight (2)", "model.layers.1.self_attn.o_proj.weight (1)"):
    assert message in str(error.value)
