"""Text to ids: what a chat template puts around each turn. Sampled ids are never re-tokenized.

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
  """A tokenizer and its chat template, for one conversation that only ever grows.

  No text of an observation encodes to a special token, so none can pretend to be a turn.
  """

  @property
  def vocab_size(self) -> int:
    """One more than the largest id; the model may have more, which stand for nothing."""

  @property
  def end_id(self) -> int:
    """The id that ends a reply."""

  def opening(self, observation: str) -> list[int]:
    """What is read before the first reply."""

  def following(self, observation: str, ended: bool) -> list[int]:
    """What is read between a reply and the next one.

    Args:
      observation: the environment's answer.
      ended: whether the reply's last id was `end_id`; if not, the piece ends its turn first.
    """

  def reply(self, thought: str, action: str) -> list[int]:
    """The ids of a demonstrated reply, its end included."""

  def text(self, ids: Sequence[int]) -> str:
    """A reply's text, without its end."""

  def action(self, text: str) -> str | None:
    """The command inside a well-formed reply (see chat.actions), else None."""


def load(
  path: str | pathlib.Path,
  instructions: str = "",
  *,
  think: bool = True,
  lower: bool = True,
  cjk: bool = False,
) -> Chat:
  """The chat of a model: by what lies in its folder, or from its GGUF file.

  A SentencePiece model as launch/sft.py makes it has its template's marks, and is used wherever
  it lies; else with `tokenizer.json` it is the `transformers` tokenizer and the chat template
  that came with it.
  No code of the folder is run, and nothing is downloaded.

  Args:
    path: a folder, or a GGUF file.
    instructions: the text before anything else; the system message where
      the template has one.
    think, lower, cjk: what makes a reply an action (chat.actions.Rules).

  Raises:
    FileNotFoundError: no tokenizer lies there.
    ValueError: the tokenizer or its chat template cannot be used.
  """
  path, rules = pathlib.Path(path), actions.Rules(think, lower, cjk)
  os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # PyTorch is not missed.
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
