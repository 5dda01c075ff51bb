"""A run belongs to the model that it began with: its files are known again by their content.

Adapters mean something beside their own base alone, a KL penalty goes to the reference that it
began with, and ids are text by one tokenizer. WORKDIR/model.json keeps what `of` gives of the
model when a run begins; whoever reads the model for that run again calls `check` first.
"""

from collections.abc import Collection, Iterator, Mapping
import concurrent.futures
import hashlib
import json
import os
import pathlib

from empg_jax import console
from empg_jax.chat import tokenizer_files
from empg_jax.io import json_text
from empg_jax.models import folder, source

FILE = "model.json"
PARTS = ("config", "tokenizer", "weights")
_PIECE = 2**24  # bytes that a thread reads and hashes at a time


def of(path: str | os.PathLike, parts: Collection[str] = PARTS) -> dict[str, str]:
  """SHA-256 of the model of `folder.locate(path)`, by part.

  Every byte counts: config is what config.json says, tokenizer the names and content of the
  tokenizer's files, weights the content of the safetensors files in the order of their names, in
  pieces that threads hash side by side. In a GGUF file each part is the whole file.

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
  """Notes the model of a run that begins, or checks that of one that goes on, as `check` does.

  Args:
    workdir: of the run; it is this process's alone.
    path: as `folder.locate` takes it.
    begun: whether something was computed in the workdir.
    weights: whether what is still to come depends on the model's weights too.
  """
  file = pathlib.Path(workdir) / FILE
  if begun and file.exists():
    return check(workdir, path, weights=weights)
  partial = file.with_name(f"{FILE}.{os.getpid()}")
  about = {"path": str(folder.locate(path).resolve()), **of(path)}
  partial.write_text(json_text.dumps(about, indent=2) + "\n")
  partial.replace(file)


def check(workdir: str | os.PathLike, path: str | os.PathLike, *, weights: bool) -> None:
  """Raises ValueError unless `path` has the model that the run in `workdir` began with.

  A run that noted none, made by an older version, is not checked.

  Args:
    workdir: of the run.
    path: as `folder.locate` takes it.
    weights: whether they have to be the same too, beside config and tokenizer.
  """
  file = pathlib.Path(workdir) / FILE
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


def _read(file: pathlib.Path) -> Mapping[str, str]:
  try:
    found = json.loads(file.read_text(encoding="utf-8"))
    return {part: str(found[part]) for part in PARTS}
  except (ValueError, KeyError, TypeError, RecursionError):
    raise ValueError(
      f"{file} is damaged, so whether the run's model is still the same is not known: put it"
      " right, or remove it to go on without that check."
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
