"""The tokenizer and the template of a SentencePiece chat, in the files of `transformers`."""

import pathlib

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

from empg_jax.chat.sentencepiece_chat import MARKS, SentencePieceChat

_NORMAL, _UNKNOWN, _USER_DEFINED = 1, 2, 4  # types of pieces
# Instructions stand before the first observation, as SentencePieceChat has them.
_TEMPLATE = """\
{%- set told = messages[0].content + '\\n\\n' if messages[0].role == 'system' else '' -%}
{%- set messages = messages[1:] if messages[0].role == 'system' else messages -%}
{%- for message in messages -%}
{%- if message.role == 'user' -%}
{{- '<|user|>' + (told if loop.first else '') + message.content -}}
{%- else -%}
{{- '<|assistant|>' + message.content + '<|end|>' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}
"""


def write(chat: SentencePieceChat, folder: pathlib.Path) -> None:
  """Makes `transformers` read the folder as this chat: the same ids, the same conversation.

  Only in text that spells a mark, as `<|end|>`, do they differ: AutoTokenizer reads it as the
  mark, and the chat as text.
  """
  from transformers import PreTrainedTokenizerFast  # takes seconds

  user, assistant, end = MARKS
  PreTrainedTokenizerFast(
    tokenizer_object=_tokenizer(chat),
    chat_template=_TEMPLATE,
    clean_up_tokenization_spaces=False,
    eos_token=end,
    pad_token=chat.tokenizer.id_to_piece(chat.tokenizer.pad_id()),
    unk_token=chat.tokenizer.id_to_piece(chat.tokenizer.unk_id()),
    extra_special_tokens=[user, assistant],
  ).save_pretrained(folder)


def _tokenizer(chat: SentencePieceChat) -> Tokenizer:
  """Byte-pair encoding over all of a text, as SentencePiece does it."""
  from sentencepiece import sentencepiece_model_pb2  # loads protobuf

  proto = sentencepiece_model_pb2.ModelProto.FromString(chat.tokenizer.serialized_model_proto())
  ids = {piece.piece: i for i, piece in enumerate(proto.pieces)}
  scores = {piece.piece: piece.score for piece in proto.pieces if piece.type == _NORMAL}
  unknown = next(piece.piece for piece in proto.pieces if piece.type == _UNKNOWN)
  bpe = Tokenizer(
    models.BPE(vocab=ids, merges=_merges(scores), unk_token=unknown, byte_fallback=True)
  )
  bpe.normalizer = normalizers.Replace(" ", "\u2581")
  bpe.decoder = decoders.Sequence(
    [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
  )
  whole = [piece.piece for piece in proto.pieces if piece.type == _USER_DEFINED]
  bpe.add_tokens([AddedToken(piece, normalized=True) for piece in whole])
  bpe.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in MARKS])
  return bpe


def _merges(scores: dict[str, float]) -> list[tuple[str, str]]:
  """The pairs that pieces are merged from, the piece of the highest score first."""
  pairs = []
  for piece in sorted(scores, key=scores.__getitem__, reverse=True):
    halves = ((piece[:at], piece[at:]) for at in range(1, len(piece)))
    pairs += [(left, right) for left, right in halves if left in scores and right in scores]
  return pairs
