"""Text to ids: a chat template around each turn. Sampled ids are never tokenized again.

chat = load("path/to/model")
ids = chat.opening(first_observation)               # then the policy samples a reply,
ids += [*reply, *chat.following(observation, ended=reply[-1] == chat.end_id)]   # and so on
"""

from collections.abc import Sequence
import os
import pathlib
from typing import Protocol, runtime_checkable

from empg_jax.chat import actions


@runtime_checkable
class Chat(Protocol):
  """A tokenizer and its chat template, for a conversation that only grows.

  The text of an observation never encodes to a special token, so it cannot imitate a turn.
  """

  @property
  def vocab_size(self) -> int:
    """One more than the largest id; the model may have more ids, which encode no text."""

  @property
  def end_id(self) -> int:
    """The id that ends a reply."""

  def opening(self, observation: str) -> list[int]:
    """The ids that the policy reads before its first reply."""

  def following(self, observation: str, ended: bool) -> list[int]:
    """The ids that the policy reads between a reply and the next one.

    Args:
      observation: the environment's answer.
      ended: whether the reply's last id was `end_id`; if not, the ids begin with `end_id`.
    """

  def reply(self, thought: str, action: str) -> list[int]:
    """The ids of a demonstrated reply, its end included."""

  def text(self, ids: Sequence[int]) -> str:
    """A reply's text, without its end."""

  def action(self, text: str) -> str | None:
    """The action inside a well-formed reply (chat.actions); None if the reply has a fault."""


def load(
  path: str | pathlib.Path,
  instructions: str = "",
  *,
  think: bool = True,
  lower: bool = True,
  cjk: bool = False,
) -> Chat:
  """The chat of a model, from the files in its folder or from its GGUF file.

  If the folder has a SentencePiece model that launch/sft.py made, which contains the marks of its
  template, that is used; else, with `tokenizer.json`, the `transformers` tokenizer and its chat
  template. No code from the folder is run, and nothing is downloaded.

  Args:
    path: a folder, or a GGUF file.
    instructions: the text before anything else; the system message where
      the template has one.
    think, lower, cjk: which replies hold an action (chat.actions.Rules).

  Raises:
    FileNotFoundError: there is no tokenizer.
    ValueError: the tokenizer or its chat template cannot be used.
  """
  path, rules = pathlib.Path(path), actions.Rules(think, lower, cjk)
  os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # PyTorch is not needed.
  ggufs = [path] if path.is_file() and path.suffix == ".gguf" else sorted(path.glob("*.gguf"))
  # Imported only where needed: transformers takes seconds.
  own = path / "tokenizer.model"
  if own.is_file():
    from empg_jax.chat import sentencepiece_chat

    if not (path / "tokenizer.json").is_file() or sentencepiece_chat.is_one(own):
      return sentencepiece_chat.load(own, instructions, rules)
  if (path / "tokenizer.json").is_file():
    from empg_jax.chat import template_chat, tokenizers

    return template_chat.TemplateChat(tokenizers.from_folder(path), instructions, str(path), rules)
  if len(ggufs) == 1:
    from empg_jax.chat import template_chat, tokenizers

    tokenizer, name = tokenizers.from_gguf(ggufs[0]), str(ggufs[0])
    return template_chat.TemplateChat(tokenizer, instructions, name, rules)
  raise FileNotFoundError(
    f"There is no tokenizer in {path}: give a folder with tokenizer.json (and its chat"
    " template) or tokenizer.model, or a GGUF file."
  )
