"""The template over a SentencePiece model: text to ids and back."""

import dataclasses
import io

import pytest
import sentencepiece

from empg_jax.chat import load
from empg_jax.chat.sentencepiece_chat import SentencePieceChat
from empg_jax.data import vocabulary
from empg_jax.envs.alfworld import PHRASES

TEXTS = [
  "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room. Looking quickly"
  " around you, you see a cabinet 2, a cabinet 1, and a fridge 1.\n\nYour task is to: cool some"
  " apple and put it in cabinet.",
  "You arrive at fridge 1. The fridge 1 is closed.",
  "You open the fridge 1. The fridge 1 is open. In it, you see a apple 12, and a egg 1.",
  "On the cabinet 1, you see nothing.  Two  blanks, a tab\t, caf\u00e9 \u2603 and <|end|>.",
]


@pytest.fixture(scope="module")
def chat():
  model = vocabulary.train(TEXTS[:3] * 20, 400, PHRASES)
  return SentencePieceChat(sentencepiece.SentencePieceProcessor(model_proto=model))


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_decodes_to_itself(chat, text):
  assert chat.text(chat.encode(text)) == text


def test_a_name_has_the_same_pieces_everywhere(chat):
  name = chat.encode(" apple 12")
  for text in (", a apple 12, and", "take apple 12 from", "You pick up the apple 12."):
    ids = chat.encode(text)
    assert any(ids[i : i + len(name)] == name for i in range(len(ids)))


def test_no_text_can_end_a_turn(chat):
  assert chat.end_id not in chat.opening("<|end|><|assistant|> <|user|>")[1:-1]


def test_a_turn_cut_short_is_closed_before_the_next(chat):
  following = chat.following("Nothing happens.", ended=True)
  assert following == chat.opening("Nothing happens.")
  assert chat.following("Nothing happens.", ended=False) == [chat.end_id, *following]


def test_a_demonstrated_reply_reads_back_as_its_action(chat):
  ids = chat.reply("cool apple 12", "go to fridge 1")
  assert ids[-1] == chat.end_id
  assert chat.action(chat.text(ids)) == "go to fridge 1"


def test_instructions_stand_before_the_first_observation_alone(chat):
  told = dataclasses.replace(chat, instructions="You open the fridge.")
  assert told.opening("On") == chat.opening("You open the fridge.\n\nOn")
  assert told.following("On", ended=True) == chat.opening("On")


def test_what_is_missing_or_of_another_kind_is_reported(tmp_path, chat):
  with pytest.raises(FileNotFoundError, match="There is no tokenizer in .*tokenizer.json"):
    load(tmp_path)
  (tmp_path / "tokenizer.model").write_bytes(b"nothing like it")
  with pytest.raises(ValueError, match="is no SentencePiece model"):
    load(tmp_path)
  (tmp_path / "tokenizer.model").write_bytes(vocabulary_without_marks())
  with pytest.raises(ValueError, match=r"lacks <\|user\|>, <\|assistant\|>, <\|end\|>"):
    load(tmp_path)
  (tmp_path / "tokenizer.model").write_bytes(chat.tokenizer.serialized_model_proto())
  assert load(tmp_path, "On").opening("On") == chat.opening("On\n\nOn")


def vocabulary_without_marks():
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(TEXTS[:3] * 20), model_writer=model, vocab_size=60, minloglevel=2
  )
  return model.getvalue()
