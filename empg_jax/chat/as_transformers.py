"""The tokenizer and the template of a SentencePiece chat, in the files of `transformers`."""

import pathlib

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

from empg_jax.chat.sentencepiece_chat import MARKS, SentencePieceChat

_NORMAL, _UNKNOWN, _USER_DEFINED = 1, 2, 4  # types of pieces
# Instructions come before the first observation, as in SentencePieceChat.
_TEMPLATE = """\
{%- set instructions = messages[0].content + '\\n\\n' if messages[0].role == 'system' else '' -%}
{%- set messages = messages[1:] if messages[0].role == 'system' else messages -%}
{%- for message in messages -%}
{%- if message.role == 'user' -%}
{{- '<|user|>' + (instructions if loop.first else '') + message.content -}}
{%- else -%}
{{- '<|assistant|>' + message.content + '<|end|>' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}
"""


def write(chat: SentencePieceChat, folder: pathlib.Path) -> None:
  """Writes a tokenizer and a template with which `transformers` makes the same ids as this chat.

  They differ only in text that spells a mark, such as `<|end|>`: AutoTokenizer encodes it as the
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
  """Byte-pair encoding over a whole text, as SentencePiece does it."""
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
  """The pairs that merge into pieces, the piece of the highest score first."""
  pairs = []
  for piece in sorted(scores, key=scores.__getitem__, reverse=True):
    halves = ((piece[:at], piece[at:]) for at in range(1, len(piece)))
    pairs += [(left, right) for left, right in halves if left in scores and right in scores]
  return pairs
