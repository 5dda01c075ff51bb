"""Trains the tiny policy's SentencePiece vocabulary on environment text."""

from collections.abc import Iterable, Sequence
import io

import sentencepiece

CONTROL = (
  "<|user|>",
  "<|assistant|>",
  "<|end|>",
)  # no text encodes to them; the chat adds their ids
TAGS = ("<think>", "</think>", "<action>", "</action>")


def train(texts: Iterable[str], size: int, phrases: Sequence[str] = ()) -> bytes:
  """A BPE model of at most `size` pieces, as the bytes of a SentencePiece model file.

  Each of `phrases` is one piece. Decoding returns the exact text: nothing is normalised, and no
  space is added or removed.
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
    user_defined_symbols=[p.replace(" ", "\u2581") for p in (*TAGS, *phrases)],
    pad_id=0,
    unk_id=1,
    bos_id=-1,
    eos_id=-1,
    max_sentence_length=65536,
    minloglevel=2,
  )
  return model.getvalue()
