"""The README files that tests check against the code: the front page and the folders'."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[1]
NAMES = (
  "README.md",
  "launch/README.md",
  "launch/tpu/README.md",
  "configs/README.md",
  "empg_jax/README.md",
  "empg_jax/envs/README.md",
)
TEXTS = {name: (ROOT / name).read_text() for name in NAMES}


def blocks(name, language):
  """The code blocks of a README in a language."""
  return re.findall(rf"^```{language}\n(.*?)^```", TEXTS[name], re.M | re.S)


def prose(name):
  """A README without its code blocks."""
  return re.sub(r"^```.*?^```", "", TEXTS[name], flags=re.M | re.S)
