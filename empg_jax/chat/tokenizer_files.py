"""Copies a model's tokenizer into a folder of weights that were made from the model."""

import pathlib

from empg_jax.io import paths

FILES = (
  "tokenizer.json",
  "tokenizer.model",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "merges.txt",
  "chat_template.jinja",
)


def copy(home: pathlib.Path, out: paths.Path) -> None:
  """Writes the tokenizer of `home`, a model's folder or GGUF file, to the folder `out`.

  Files of a folder are copied unchanged; from a GGUF file they are made. Files of another
  tokenizer in `out` are removed, because readers would use them instead.
  """
  if home.is_file():
    from empg_jax.chat import tokenizers  # only where needed: transformers takes seconds

    with paths.filled(out) as draft:
      tokenizers.from_gguf(home).save_pretrained(draft)
    return
  for name in FILES:
    if (home / name).is_file():
      paths.write(out / name, (home / name).read_bytes())
    else:
      (out / name).unlink(missing_ok=True)
