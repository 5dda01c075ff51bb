"""Text to ids: what the chat template puts around each turn. Sampled ids are never re-tokenized."""

import dataclasses
import pathlib
import re
from collections.abc import Sequence

import sentencepiece

_ACTION = re.compile(r"<think>.*?</think>\s*<action>(.*?)</action>\s*", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Chat:
  """The template `<|user|>OBSERVATION<|assistant|>REPLY<|end|>`, over a SentencePiece model.

  The three marks are ids of their own that no text encodes to, so that an observation
  cannot pretend to be a turn.
  """

  tokenizer: sentencepiece.SentencePieceProcessor

  @classmethod
  def load(cls, path: str | pathlib.Path) -> "Chat":
    """From a SentencePiece model file.

    Raises:
      FileNotFoundError: there is no such file.
    """
    path = pathlib.Path(path)
    if not path.is_file():
      raise FileNotFoundError(
          f"There is no SentencePiece model at {path}: give the folder of a tokenizer.model."
      )
    return cls(sentencepiece.SentencePieceProcessor(model_file=str(path)))

  @property
  def vocab_size(self) -> int:
    return self.tokenizer.get_piece_size()

  @property
  def end_id(self) -> int:
    """The id that ends a reply."""
    return self.tokenizer.piece_to_id("<|end|>")

  def opening(self, observation: str) -> list[int]:
    """What is read before the first reply."""
    piece_to_id = self.tokenizer.piece_to_id
    user, assistant = piece_to_id("<|user|>"), piece_to_id("<|assistant|>")
    return [user, *self.encode(observation), assistant]

  def following(self, observation: str, ended: bool) -> list[int]:
    """What is read between a reply and the next one.

    Args:
      observation: the environment's answer.
      ended: whether the reply's last id was `end_id`; if not, the piece ends its turn first.
    """
    return ([] if ended else [self.end_id]) + self.opening(observation)

  def encode(self, text: str) -> list[int]:
    return self.tokenizer.encode(text)

  def reply(self, thought: str, action: str) -> list[int]:
    """The ids of a demonstrated reply, its end included."""
    return [*self.encode(f"<think>{thought}</think><action>{action}</action>"), self.end_id]

  def text(self, ids: Sequence[int]) -> str:
    return self.tokenizer.decode([int(i) for i in ids])

  def action(self, text: str) -> str | None:
    """The command inside a well-formed reply, else None."""
    match = _ACTION.fullmatch(text.strip())
    return match and (match[1].strip().lower() or None)
