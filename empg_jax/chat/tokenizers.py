"""Reads `transformers` fast tokenizers from Hugging Face folders and from GGUF files."""

from collections.abc import Callable
import pathlib
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from empg_jax.io import gguf_reader

# How text is split before the merges: the classes of characters that stay together, and how many
# digits do.
_WORDS = (
  r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*"
  r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPECIAL, _ORDINARY = 3, 4  # token types of tokens that are matched whole in text
_UNUSED = 5


def from_folder(folder: pathlib.Path) -> PreTrainedTokenizerFast:
  """Reads tokenizer.json, with tokenizer_config.json and chat_template.jinja if they are there.

  Raises:
    ValueError: a file is damaged.
  """
  try:
    return PreTrainedTokenizerFast.from_pretrained(str(folder), local_files_only=True)
  except Exception as error:  # The library raises whatever its Rust side says.
    raise ValueError(
      f"The tokenizer in {folder} cannot be read ({gguf_reader.one_line(error)}): download it"
      " again."
    ) from error


def from_gguf(file: pathlib.Path) -> PreTrainedTokenizerFast:
  """Reads the byte-level BPE tokenizer of a GGUF file.

  Raises:
    ValueError: it is not a GGUF file, or its tokenizer is of another kind.
  """
  reader = gguf_reader.read(file)
  value = lambda key: gguf_reader.value(reader, f"tokenizer.{key}")
  kind, cut = value("ggml.model"), value("ggml.pre")
  if kind != "gpt2" or cut not in tuple(_CUTS):
    raise ValueError(
      f"The tokenizer in {file} is {kind!r:.80} with pre-tokenizer {cut!r:.80}; 'gpt2' with"
      f" {', '.join(_CUTS)} can be read."
    )
  try:
    return _byte_level(value, cut)
  except Exception as error:  # The library raises whatever its Rust side says.
    raise ValueError(
      f"The tokenizer in {file} cannot be read ({gguf_reader.one_line(error)}): download it again."
    ) from error


def _byte_level(value: Callable[[str], Any], cut: str) -> PreTrainedTokenizerFast:
  """The tokenizer that a GGUF file's values under tokenizer.* describe; `cut` names the split."""
  types = value("ggml.token_type")
  while types and types[-1] == _UNUSED:  # names that the converter invented for the model's padding
    types.pop()
  tokens = value("ggml.tokens")[: len(types)]
  merges = [tuple(merge.split(" ", 1)) for merge in value("ggml.merges")]
  bpe = Tokenizer(
    models.BPE(
      vocab={token: i for i, token in enumerate(tokens)},
      merges=merges,
      ignore_merges=cut == "llama-bpe",
    )
  )
  bpe.pre_tokenizer = _CUTS[cut]()
  bpe.decoder = decoders.ByteLevel()
  if cut == "qwen2":
    bpe.normalizer = normalizers.NFC()
  for kind, special in ((_SPECIAL, True), (_ORDINARY, False)):
    whole = [token for token, its in zip(tokens, types) if its == kind]
    bpe.add_tokens([AddedToken(t, special=special, normalized=False) for t in whole])
  names = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
  given = {name: value(f"ggml.{key}_token_id") for name, key in names.items()}
  return PreTrainedTokenizerFast(
    tokenizer_object=bpe,
    chat_template=value("chat_template"),
    clean_up_tokenization_spaces=False,
    **{name: tokens[i] for name, i in given.items() if i is not None and i < len(tokens)},
  )


def _single_digits_then_gpt2():
  digits = pre_tokenizers.Digits(individual_digits=True)
  return pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])


def _words(digits: str):
  cut = pre_tokenizers.Split(Regex(_WORDS.replace("DIGITS", digits)), "isolated")
  to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
  return lambda: pre_tokenizers.Sequence([cut, to_bytes])


_CUTS = {
  "smollm": _single_digits_then_gpt2,
  "qwen2": _words(""),
  "llama-bpe": _words("{1,3}"),
}
