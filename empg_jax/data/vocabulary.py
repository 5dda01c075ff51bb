"""Trains the tiny policy's SentencePiece vocabulary on environment text."""

import io
from collections.abc import Iterable

import sentencepiece

CONTROL = ("<|user|>", "<|assistant|>", "<|end|>")  # never found in text, only put in by id
TAGS = ("<think>", "</think>", "<action>", "</action>")

# Always a piece of their own: punctuation, so that "apple 2," shares its pieces with
# "apple 2", and ALFWorld's fixed phrases, so that transcripts are short.
PHRASES = (
    "\n", ",", ".", ":", ", a", ", and a",
    "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room. Looking quickly around you, you see a",
    "Your task is to:", "You arrive at", " On the", ", you see a", ", you see nothing.", " In it",
    " is closed.", " is open.", "You open the", "You close the", "You pick up the", "You move the",
    "You heat the", "You cool the", "You clean the", "You turn on the", " using the", " from the",
    " to the", "Nothing happens.", "The",
)  # fmt: skip


def train(texts: Iterable[str], size: int) -> bytes:
  """A BPE model of at most `size` pieces, as the bytes of a SentencePiece model file.

  Decoding gives back the very text: nothing is normalised, no space is added or removed.
  """
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(texts),
      model_writer=model,
      model_type="bpe",
      vocab_size=size,
      hard_vocab_limit=False,
      character_coverage=1.0,
      normalization_rule_name="identity",
      add_dummy_prefix=False,
      remove_extra_whitespaces=False,
      byte_fallback=True,
      control_symbols=list(CONTROL),
      user_defined_symbols=[p.replace(" ", "\u2581") for p in (*TAGS, *PHRASES)],
      pad_id=0,
      unk_id=1,
      bos_id=-1,
      eos_id=-1,
      max_sentence_length=65536,
      minloglevel=2,
  )
  return model.getvalue()
