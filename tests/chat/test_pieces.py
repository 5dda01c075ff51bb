"""A reply's text falls apart into its tokens' parts, and they make it up again."""

import pytest

from empg_jax import chat as chats
from empg_jax.chat.pieces import splitter
from empg_jax.models import folder


def of_bytes(ids):
  """A byte-level tokenizer whose 0 ends a reply."""
  return bytes(i for i in ids if i).decode(errors="replace")


def test_a_sentencepiece_reply():
  chat = chats.load(folder.locate("alfworld-tiny"))
  text = "<think>A mug is hot.</think><action>go to fridge 1</action>"
  ids = [*chat.encode(text), chat.end_id]
  found = splitter(chat.text)(ids)
  assert "".join(found) == chat.text(ids) == text
  assert len(found) == len(ids) and found[-1] == "" and all(found[:-1])


@pytest.mark.parametrize(
  "text, found",
  [
    ("", []),
    ("ab", ["a", "b"]),
    ("a\u00e9b", ["a", "", "\u00e9", "b"]),
    ("\u6c34", ["", "", "\u6c34"]),
    ("a\n\U0001f600", ["a", "\n", "", "", "", "\U0001f600"]),
  ],
)
def test_a_character_of_several_tokens_belongs_to_the_last_one(text, found):
  assert splitter(of_bytes)(list(text.encode())) == found
  assert splitter(of_bytes)([*text.encode(), 0]) == [*found, ""]


def test_bytes_that_are_no_character_are_kept():
  for ids in ([97, 255, 98], [97, 0xC3], [0xC3, 97, 0xA9]):
    found = splitter(of_bytes)(ids)
    assert "".join(found) == of_bytes(ids) and len(found) == len(ids)
