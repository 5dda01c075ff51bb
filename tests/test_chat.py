"""The chat template: text to ids and back, and the action inside a reply."""

import pytest
import sentencepiece

from empg_jax.chat import Chat
from empg_jax.data import vocabulary

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
  model = vocabulary.train(TEXTS[:3] * 20, 400)
  return Chat(sentencepiece.SentencePieceProcessor(model_proto=model))


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_comes_back_to_the_letter(chat, text):
  assert chat.text(chat.encode(text)) == text


def test_a_name_has_the_same_pieces_wherever_it_stands(chat):
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


@pytest.mark.parametrize(
    "text, action",
    [
        ("<think>a</think><action>look</action>", "look"),
        ("<think>a</think>\n<action> Go To fridge 1 </action>\n", "go to fridge 1"),
        ("<think>a</think><action></action>", None),
        ("<action>look</action>", None),
        ("<think>a</think><action>look", None),
        ("<think>a<action>look</action>", None),
        ("look", None),
        ("", None),
    ],
)
def test_only_a_whole_reply_holds_an_action(chat, text, action):
  assert chat.action(text) == action


def test_a_missing_tokenizer_is_told(tmp_path):
  with pytest.raises(FileNotFoundError, match="There is no SentencePiece model at"):
    Chat.load(tmp_path / "tokenizer.model")
