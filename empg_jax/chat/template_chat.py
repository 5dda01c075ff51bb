"""A `transformers` tokenizer with the chat template that came with it."""

from collections.abc import Iterable, Sequence
import logging
import re

import tokenizers
from transformers import PreTrainedTokenizerFast

from empg_jax.chat import actions, template

# Llama 3's template contains the date; a fixed one keeps runs reproducible.
_DATE = "26 Jul 2024"


class TemplateChat:
  """A `Chat` over a fast tokenizer and its template; the methods are those of `Chat`.

  Text between special tokens is encoded as a whole, so an observation has the same ids as when
  the template is applied to the whole conversation. Thinking modes are switched off
  (`enable_thinking=False`): the agent thinks within the reply, which is trained. If a template
  still opens <think> itself, the tag counts as part of the reply.

  Args:
    tokenizer: with a chat template.
    instructions: the system message; the template's own default if empty. Where the template
      has no system role, they come before the first observation.
    name: the tokenizer's name in messages.
    rules: which replies hold an action.

  Raises:
    ValueError: the template is missing, fails, or does not mark the end of a reply.
  """

  def __init__(
    self,
    tokenizer: PreTrainedTokenizerFast,
    instructions: str = "",
    name: str = "it",
    rules: actions.Rules = actions.Rules(),
  ):
    if not tokenizer.chat_template:
      raise ValueError(
        f"The tokenizer of {name} has no chat template: put the chat_template.jinja of an"
        " instruct model beside it."
      )
    self._rules = rules
    self.vocab_size = max(tokenizer.get_vocab().values()) + 1
    self._backend = tokenizer.backend_tokenizer
    self._plain = _without_added_tokens(self._backend)
    self._added = {str(token): i for i, token in tokenizer.added_tokens_decoder.items()}
    _check_unspoken(self._plain, tokenizer, name)
    self._ordinary = [str(t) for t in tokenizer.added_tokens_decoder.values() if not t.special]
    pieces = _pieces(tokenizer, instructions, name)
    self._before, self._after, self._between = (
      _split(piece, self._added) for piece in (pieces.before, pieces.after, pieces.between)
    )
    self._strips = pieces.strips
    if len(self._between) < 2:
      raise ValueError(
        f"The chat template of {name} puts {pieces.between!r} after a reply, and no special token"
        " to end it: write {{ eos_token }} after the assistant's content in it."
      )
    self.end_id = self._added[self._between[1]]
    self._opened = "<think>" if pieces.after.rstrip().endswith("<think>") else ""

  def opening(self, observation: str) -> list[int]:
    return self._read(self._before, observation)

  def following(self, observation: str, ended: bool) -> list[int]:
    return self._read(self._between[2:] if ended else self._between, observation)

  def reply(self, thought: str, action: str) -> list[int]:
    text = f"<think>{thought}</think><action>{action}</action>".removeprefix(self._opened)
    text += self._between[0]  # a blank before the end belongs to the reply: it is sampled
    return [*self._ids(_split(text, self._ordinary)), self.end_id]

  def text(self, ids: Sequence[int]) -> str:
    ids = [int(i) for i in ids]
    return self._backend.decode(
      ids[:-1] if ids[-1:] == [self.end_id] else ids, skip_special_tokens=False
    )

  def action(self, text: str) -> str | None:
    return actions.action(self._opened + text, self._rules)

  def _read(self, before: list[str], observation: str) -> list[int]:
    text = observation.strip() if self._strips else observation
    return self._ids([*before[:-1], before[-1] + text + self._after[0], *self._after[1:]])

  def _ids(self, parts: list[str]) -> list[int]:
    """The ids of alternating text and added tokens, as `_split` gives them."""
    ids = []
    for i, part in enumerate(parts):
      ids += [self._added[part]] if i % 2 else self._plain.encode(part).ids
    return ids


def _pieces(tokenizer: PreTrainedTokenizerFast, instructions: str, name: str) -> template.Pieces:
  def render(messages):
    try:
      return tokenizer.apply_chat_template(
        messages,
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=False,
        date_string=_DATE,
      )
    except Exception as error:  # A template is a program from the model's folder.
      raise ValueError(f"fails ({error}): use another one") from error

  try:
    pieces = template.find(render, instructions)
  except ValueError as error:
    raise ValueError(f"The chat template of {name} {error}.") from error
  if not pieces.system:
    logging.getLogger(__name__).warning(
      "The chat template of %s has no system role: the instructions come before the first"
      " observation.", name,
    )  # fmt: skip
  if not pieces.grows:
    logging.getLogger(__name__).warning(
      "The chat template of %s rewrites earlier turns, for instance to remove their thinking;"
      " here a turn stays as it was sampled.", name,
    )  # fmt: skip
  return pieces


def _check_unspoken(
  plain: tokenizers.Tokenizer, tokenizer: PreTrainedTokenizerFast, name: str
) -> None:
  for i, token in tokenizer.added_tokens_decoder.items():
    if token.special and i in plain.encode(str(token)).ids:
      raise ValueError(
        f"In the vocabulary of {name} ordinary text can encode to the special token {token}, so"
        " an observation could imitate a turn: use another tokenizer."
      )


def _without_added_tokens(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
  """The same text encoder without special tokens: it encodes their names as ordinary text."""
  plain = tokenizers.Tokenizer(backend.model)
  for part in ("normalizer", "pre_tokenizer"):
    if (value := getattr(backend, part)) is not None:
      setattr(plain, part, value)
  return plain


def _split(text: str, tokens: Iterable[str]) -> list[str]:
  """Text, token, text, token, ..., text; the texts may be empty."""
  longest_first = sorted(tokens, key=len, reverse=True)
  return re.split(f"({'|'.join(map(re.escape, longest_first))})", text) if tokens else [text]
