"""The tokenizer inside a GGUF file is the one that it was made from."""

import json
import os
import pathlib

from families import TEXTS, tokenizer
import gguf
import pytest

from empg_jax.chat import load, tokenizers
from empg_jax.chat.template_chat import TemplateChat

PRE = {"smollm2": "smollm", "qwen3": "qwen2", "llama3": "llama-bpe"}


def write(path, tok, pre, padding=0):
  """A GGUF file of a tokenizer, as llama.cpp's converter writes it for a model so much larger."""
  bpe = json.loads(tok.backend_tokenizer.to_str())
  added = {token["content"]: token["special"] for token in bpe["added_tokens"]}
  names = [tok.convert_ids_to_tokens(i) for i in range(len(tok))]
  kinds = {True: gguf.TokenType.CONTROL, False: gguf.TokenType.USER_DEFINED}
  writer = gguf.GGUFWriter(path, "llama")
  writer.add_tokenizer_model("gpt2")
  writer.add_tokenizer_pre(pre)
  writer.add_token_list([*names, *(f"[PAD{i}]" for i in range(padding))])
  types = [kinds[added[name]] if name in added else gguf.TokenType.NORMAL for name in names]
  writer.add_token_types([*types, *[gguf.TokenType.UNUSED] * padding])
  writer.add_token_merges([" ".join(merge) for merge in bpe["model"]["merges"]])
  writer.add_bos_token_id(tok.bos_token_id)
  writer.add_eos_token_id(tok.eos_token_id)
  writer.add_chat_template(tok.chat_template)
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.close()


@pytest.mark.parametrize("family", PRE)
def test_its_chat_equals_that_of_the_folder(family, tmp_path):
  tok = tokenizer(family)
  write(tmp_path / "model.gguf", tok, PRE[family], padding=5)
  chat, expected = load(tmp_path / "model.gguf", "Be brief."), TemplateChat(tok, "Be brief.")
  assert (chat.vocab_size, chat.end_id) == (expected.vocab_size, expected.end_id)
  for text in TEXTS[:1] + ["caf\u00e9 cafe\u0301 <|im_end|> <|eot_id|>"]:
    assert chat.opening(text) == expected.opening(text)
  ids = expected.reply("hm", "look")
  assert chat.reply("hm", "look") == ids and chat.text(ids) == expected.text(ids)
  assert load(tmp_path).opening("Hello.") == load(tmp_path / "model.gguf").opening("Hello.")


@pytest.mark.parametrize(
  "pre, pieces",
  [
    ("smollm", ["1", "2", "3", "4"]),
    ("qwen2", ["1", "2", "3", "4"]),
    ("llama-bpe", ["123", "4"]),
  ],
)
def test_digits_are_split_as_in_training(pre, pieces, tmp_path):
  tok = tokenizer("llama3")
  assert "123" in tok.vocab
  write(tmp_path / "model.gguf", tok, pre)
  read = tokenizers.from_gguf(tmp_path / "model.gguf")
  assert [read.decode([i]) for i in read("1234")["input_ids"]] == pieces


def test_another_kind_of_tokenizer_is_named(tmp_path):
  write(tmp_path / "model.gguf", tokenizer("qwen2.5"), "tekken")
  with pytest.raises(ValueError, match="pre-tokenizer 'tekken'; .* smollm, qwen2, llama-bpe"):
    load(tmp_path)
  (tmp_path / "model.gguf").write_bytes(b"nothing like it")
  with pytest.raises(ValueError, match="is not a complete GGUF file"):
    load(tmp_path)


SMOLLM2 = os.environ.get("SMOLLM2_GGUF", "")


@pytest.mark.skipif(not SMOLLM2, reason="SMOLLM2_GGUF names no SmolLM2-135M-Instruct GGUF file")
def test_the_real_one_has_its_vocabulary_and_template():
  chat = load(SMOLLM2)
  assert chat.vocab_size == 49152
  tok = tokenizers.from_gguf(pathlib.Path(SMOLLM2))
  ids = chat.opening("What is the capital of France?")
  assert tok.decode(ids) == (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
    "<|im_end|>\n<|im_start|>user\nWhat is the capital of France?<|im_end|>\n"
    "<|im_start|>assistant\n"
  )
  assert tok.decode([chat.end_id]) == "<|im_end|>"
