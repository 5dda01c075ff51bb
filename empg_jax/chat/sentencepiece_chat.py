"""A SentencePiece model with its own template, as launch/sft.py makes it."""

from collections.abc import Sequence
import dataclasses
import pathlib

import sentencepiece

from empg_jax.chat import actions

MARKS = ("<|user|>", "<|assistant|>", "<|end|>")


@dataclasses.dataclass(frozen=True)
class SentencePieceChat:
  """The template `<|user|>OBSERVATION<|assistant|>REPLY<|end|>`, over a SentencePiece model.

  The three marks have ids of their own, to which no text encodes. `instructions` come before
  the first observation, and `rules` say which replies hold an action. The methods are those of
  `Chat`.
  """

  tokenizer: sentencepiece.SentencePieceProcessor
  instructions: str = ""
  rules: actions.Rules = actions.Rules()

  @property
  def vocab_size(self) -> int:
    return self.tokenizer.get_piece_size()

  @property
  def end_id(self) -> int:
    return self.tokenizer.piece_to_id("<|end|>")

  def opening(self, observation: str) -> list[int]:
    before = f"{self.instructions}\n\n" if self.instructions else ""
    return self._turn(before + observation)

  def following(self, observation: str, ended: bool) -> list[int]:
    return ([] if ended else [self.end_id]) + self._turn(observation)

  def reply(self, thought: str, action: str) -> list[int]:
    return [*self.encode(f"<think>{thought}</think><action>{action}</action>"), self.end_id]

  def encode(self, text: str) -> list[int]:
    return self.tokenizer.encode(text)

  def text(self, ids: Sequence[int]) -> str:
    # A model may have more ids than its tokenizer; those encode no text.
    return self.tokenizer.decode([int(i) for i in ids if i < self.vocab_size])

  def action(self, text: str) -> str | None:
    return actions.action(text, self.rules)

  def _turn(self, observation: str) -> list[int]:
    piece_to_id = self.tokenizer.piece_to_id
    user, assistant = piece_to_id("<|user|>"), piece_to_id("<|assistant|>")
    return [user, *self.encode(observation), assistant]


def load(
  file: pathlib.Path, instructions: str = "", rules: actions.Rules = actions.Rules()
) -> SentencePieceChat:
  """Reads a SentencePiece model file.

  Raises:
    ValueError: the file is damaged, or the model lacks the template's marks.
  """
  tokenizer = _opened(file)
  if missing := _missing(tokenizer):
    raise ValueError(
      f"The vocabulary of {file} lacks {', '.join(missing)}, so launch/sft.py did not make it:"
      " put the model's tokenizer.json and chat template beside it."
    )
  return SentencePieceChat(tokenizer, instructions, rules)


def is_one(file: pathlib.Path) -> bool:
  """Whether `load` takes the file."""
  try:
    return not _missing(_opened(file))
  except ValueError:
    return False


def _opened(file: pathlib.Path) -> sentencepiece.SentencePieceProcessor:
  try:
    return sentencepiece.SentencePieceProcessor(model_file=str(file))
  except Exception as error:  # The library raises whatever its C++ side says.
    raise ValueError(f"{file} is no SentencePiece model: make it again.") from error


def _missing(tokenizer: sentencepiece.SentencePieceProcessor) -> list[str]:
  """The marks that are no pieces."""
  return [mark for mark in MARKS if tokenizer.id_to_piece(tokenizer.piece_to_id(mark)) != mark]
