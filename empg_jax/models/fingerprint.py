"""Hashes that tie a run to the model that it began with.

Adapters fit only their own base, a KL penalty needs its original reference, and ids are text
only with their own tokenizer. WORKDIR/model.json keeps the hashes of `of` from the start of a
run; code that loads the model for that run again calls `check` first.
"""

from collections.abc import Collection, Iterator, Mapping
import concurrent.futures
import hashlib
import json
import os
import pathlib

from empg_jax import console
from empg_jax.chat import tokenizer_files
from empg_jax.io import json_text, paths
from empg_jax.models import folder, source

FILE = "model.json"
PARTS = ("config", "tokenizer", "weights")
_PIECE = 2**24  # bytes that a thread hashes at a time


def of(path: str | os.PathLike, parts: Collection[str] = PARTS) -> dict[str, str]:
  """SHA-256 of the model of `folder.locate(path)`, by part.

  config hashes the values of config.json, tokenizer the names and contents of the tokenizer's
  files, weights the contents of the safetensors files in the order of their names, in pieces
  that threads hash in parallel. In a GGUF file each part is the whole file.

  Raises:
    FileNotFoundError: there is no model.
    ValueError: its config.json or its index is damaged.
  """
  home = folder.locate(path)
  if home.is_file():
    return dict.fromkeys(parts, _content([home]))
  return {part: _HASHES[part](home) for part in parts}


def claim(
  workdir: str | os.PathLike, path: str | os.PathLike, *, begun: bool, weights: bool
) -> None:
  """Records the model of a new run, or checks that of a resumed one, as `check` does.

  Args:
    workdir: of the run; no other process uses it.
    path: as for `folder.locate`.
    begun: whether the run has computed anything.
    weights: whether the rest of the run depends on the model's weights too.
  """
  file = paths.of(workdir) / FILE
  if begun and file.exists():
    return check(workdir, path, weights=weights)
  about = {"path": str(folder.locate(path).resolve()), **of(path)}
  paths.write(file, json_text.dumps(about, indent=2) + "\n")


def check(workdir: str | os.PathLike, path: str | os.PathLike, *, weights: bool) -> None:
  """Raises ValueError unless `path` has the model that the run in `workdir` began with.

  A run of an older version, which recorded no model, is not checked.

  Args:
    workdir: of the run.
    path: as for `folder.locate`.
    weights: whether to check the weights too, besides config and tokenizer.
  """
  file = paths.of(workdir) / FILE
  if not file.exists():
    return
  there = _read(file)
  parts = PARTS if weights else [part for part in PARTS if part != "weights"]
  here = of(path, parts)
  if changed := [part for part in parts if here[part] != there[part]]:
    raise ValueError(
      f"{folder.locate(path)} is not the model that the run in {workdir} began with: its"
      f" {' and '.join(changed)} changed since. Put that model back there, or begin a new run in"
      " another --workdir."
    )


def _read(file: paths.Path) -> Mapping[str, str]:
  try:
    found = json.loads(file.read_text(encoding="utf-8"))
    return {part: str(found[part]) for part in PARTS}
  except (ValueError, KeyError, TypeError, RecursionError):
    raise ValueError(
      f"{file} is damaged, so the run's model cannot be checked: repair the file, or remove it"
      " to go on without the check."
    ) from None


def _config(home: pathlib.Path) -> str:
  text = json_text.dumps(source.read_json(home / "config.json"), sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()


def _tokenizer(home: pathlib.Path) -> str:
  total = hashlib.sha256()
  for name in tokenizer_files.FILES:
    if (home / name).is_file():
      total.update(f"{name} {_content([home / name])}\n".encode())
  return total.hexdigest()


def _weights(home: pathlib.Path) -> str:
  return _content(source.files(home))


_HASHES = {"config": _config, "tokenizer": _tokenizer, "weights": _weights}


def _content(files: Collection[pathlib.Path]) -> str:
  """One hash over the hashes of the files' pieces."""
  total, pieces = hashlib.sha256(), list(_pieces(files))
  with (
    concurrent.futures.ThreadPoolExecutor(min(os.cpu_count() or 1, 16)) as threads,
    console.Progress("checking the model's files", len(pieces), "pieces of 16 MiB") as progress,
  ):
    for digest in threads.map(_piece, *zip(*pieces)):
      total.update(digest)
      progress.update()
  return total.hexdigest()


def _pieces(files: Collection[pathlib.Path]) -> Iterator[tuple[pathlib.Path, int]]:
  for file in files:
    yield from ((file, at) for at in range(0, max(file.stat().st_size, 1), _PIECE))


def _piece(file: pathlib.Path, at: int) -> bytes:
  with file.open("rb") as content:
    content.seek(at)
    return hashlib.sha256(content.read(_PIECE)).digest()
