"""Fetches models from a bucket or the Hugging Face hub.

One process of a host fetches only the files that are needed, into the cache of io.cache or of
huggingface_hub.
"""

from collections.abc import Callable, Collection, Iterator
import contextlib
import contextvars
import errno
import functools
import json
import pathlib
import re
import sys

from empg_jax import console
from empg_jax.chat import tokenizer_files
from empg_jax.io import cache, paths
from empg_jax.models.source import INDEX, SINGLE

_SMALL = ("config.json", "generation_config.json", INDEX, *tokenizer_files.FILES)
_with_weights = contextvars.ContextVar("with_weights", default=True)


@contextlib.contextmanager
def without_weights() -> Iterator[None]:
  """In `with`, models are located without their weights, with config and tokenizer only."""
  token = _with_weights.set(False)
  try:
    yield
  finally:
    _with_weights.reset(token)


def is_complete() -> bool:
  """Whether models are located with their weights."""
  return _with_weights.get()


def from_bucket(address: str) -> pathlib.Path:
  """A copy of a bucket's folder with a model, or of a GGUF file.

  Raises:
    FileNotFoundError: there is no model.
    OSError: it cannot be copied.
  """
  if address.endswith(".gguf"):
    return cache.local(address, console.Progress)
  home = paths.of(address)
  there = [path.name for path in paths.entries(home)]
  names = [name for name in _SMALL if name in there]
  if is_complete() or "config.json" not in there:
    names += _weights(there, lambda: (home / INDEX).read_text())
  if not names:
    raise FileNotFoundError(f"There is no model in {address}.")
  return cache.local(address, console.Progress, names)


def _weights(there: Collection[str], index: Callable[[], str]) -> list[str]:
  """The needed weight files among those `there`; `index` returns the text of INDEX."""
  if INDEX in there:
    return sorted({*json.loads(index())["weight_map"].values()})
  return [SINGLE] if SINGLE in there else sorted(x for x in there if x.endswith(".gguf"))


def is_hub_name(name: str) -> bool:
  """Whether a name has the form of a model on the hub, ORGANIZATION/MODEL[@REVISION]."""
  return re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", name) is not None


def from_hub(name: str) -> pathlib.Path:
  """The folder of a model in huggingface_hub's cache, fetched if needed.

  Args:
    name: ORGANIZATION/MODEL, or ORGANIZATION/MODEL@REVISION for a branch, a tag or a commit.

  Raises:
    FileNotFoundError: there is no such model, or it cannot be fetched; the message says why.
    OSError: the disk is full.
  """
  return _from_hub(name, is_complete())


@functools.cache
def _from_hub(name: str, complete: bool) -> pathlib.Path:
  from huggingface_hub import constants, errors  # takes a second

  repo, _, revision = name.partition("@")
  try:
    with cache.one_at_a_time(cache.folder_for("hub", repo.replace("/", "--"))):
      return _fetched(repo, revision or None, complete)
  except errors.GatedRepoError:
    why = (
      f"{repo} is gated on the Hugging Face hub: accept its terms on {constants.ENDPOINT}/{repo},"
      " and log in with `hf auth login`, or set HF_TOKEN."
    )
  except errors.RepositoryNotFoundError:
    why = (
      f"There is no folder {name}, and the Hugging Face hub has no such model, or it is private:"
      " check the name, or log in with `hf auth login`."
    )
  except errors.RevisionNotFoundError:
    why = (
      f"{repo} has no revision {revision} on the Hugging Face hub: give a branch, tag or commit."
    )
  except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, errors.HTTPError) as error:
    cause = type(error.__cause__ or error).__name__
    why = (
      f"There is no folder {name}, and the Hugging Face hub cannot be reached ({cause}): where it"
      f" can be, {_download(repo)}, and give that folder."
    )
  except OSError as error:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
      raise
    raise OSError(
      f"the disk is full: {name} has no room in {constants.HF_HUB_CACHE}. Make room, or set HF_HOME"
      " to a folder on a larger disk."
    ) from error
  raise FileNotFoundError(why)


def _fetched(repo: str, revision: str | None, complete: bool) -> pathlib.Path:
  """The folder of a revision in huggingface_hub's cache, with the needed files."""
  from huggingface_hub import HfApi, snapshot_download

  def fetch(names: Collection[str], revision: str | None) -> pathlib.Path:
    given = dict(revision=revision, allow_patterns=list(names), tqdm_class=_bars())
    return pathlib.Path(snapshot_download(repo, **given))

  home = fetch(_SMALL, revision)
  if not complete and (home / "config.json").is_file():
    return home
  there = [path.name for path in paths.entries(home)]
  if not any(name.endswith((INDEX, SINGLE, ".gguf")) for name in there):
    there = HfApi().list_repo_files(repo, revision=home.name)
  names = _weights(there, lambda: (home / INDEX).read_text())
  if len(names) > 1 and INDEX not in there:
    raise FileNotFoundError(
      f"{repo} has several GGUF files: {_download(repo, 'FILE.gguf')}, and give that file."
    )
  return fetch([*_SMALL, *names], home.name)  # of the same commit


def _download(repo: str, *files: str) -> str:
  return " ".join(("hf download", repo, *files, "--local-dir", repo.partition("/")[2]))


def _bars() -> type:
  """The hub's progress bars; without a terminal, one line per minute for long downloads."""
  from huggingface_hub.utils import tqdm

  class Lines(tqdm):
    def __init__(self, *args, **options):
      super().__init__(*args, **options | dict(delay=60, mininterval=60, leave=False))

  return tqdm if sys.stderr.isatty() else Lines
