"""A cache that cannot be written is one sentence that says what to set, before any episode."""

import os
import pathlib
import subprocess
import sys

import pytest

from empg_jax import workers
from empg_jax.cli import command_line
from empg_jax.envs import deep_search, webshop
from empg_jax.envs.deep_search import corpus
from empg_jax.envs.webshop import data
from empg_jax.io import cache

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def unwritable(tmp_path, monkeypatch):
  """A cache where none can be: no right to write stops root, which the tests may be."""
  (tmp_path / "file").write_text("")
  monkeypatch.setenv("EMPG_JAX_CACHE", str(tmp_path / "file" / "cache"))
  caches = corpus._embedded_folder, data._folder
  for cached in caches:
    cached.cache_clear()
  yield
  for cached in caches:
    cached.cache_clear()


SENTENCE = r"the cache .* cannot be written \(Not a directory\): set EMPG_JAX_CACHE to a folder"


@pytest.mark.parametrize(
  "use", [deep_search.make, lambda: webshop.tasks("test")], ids=["deep_search", "webshop"]
)
def test_a_cache_that_cannot_be_written_is_reported_before_an_episode(unwritable, use):
  with pytest.raises(OSError, match=SENTENCE) as error:
    use()
  assert command_line.is_for_the_user(error.value)


@pytest.mark.parametrize("count", [0, 1])
def test_workers_report_it_too(unwritable, count):
  with pytest.raises(ValueError, match=SENTENCE):
    with workers.environments("empg_jax.envs.deep_search", {}, count=count):
      pass


@pytest.mark.parametrize("home", ["/proc", ""])
def test_a_home_folder_that_cannot_hold_it_is_reported(monkeypatch, tmp_path, home):
  monkeypatch.delenv("EMPG_JAX_CACHE", raising=False)
  monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
  monkeypatch.setenv("HOME", home)
  monkeypatch.setattr(os.path, "expanduser", lambda path: path.replace("~", home or "~"))
  with pytest.raises((OSError, ValueError), match="set EMPG_JAX_CACHE to a folder"):
    cache.build_once(cache.folder_for("toy", "x"), lambda draft: None)


def test_a_cache_that_can_only_be_read_will_do(monkeypatch, tmp_path):
  monkeypatch.setenv("EMPG_JAX_CACHE", "~/cache")
  monkeypatch.setenv("HOME", str(tmp_path))
  folder = cache.folder_for("toy", "x")
  assert folder == tmp_path / "cache" / "toy" / "x"
  cache.build_once(folder, lambda draft: (draft / "made").write_text(""))
  monkeypatch.setattr(cache, "open", None, raising=False)  # nothing is written any more
  cache.build_once(folder, lambda draft: pytest.fail("it is built already"))


def test_a_command_prints_one_sentence_also_where_a_workdir_is_given(unwritable, tmp_path):
  done = subprocess.run(
    [sys.executable, "launch/train.py", "--config=configs/webshop.py", f"--workdir={tmp_path}/x"],
    cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
  )  # fmt: skip
  assert done.returncode == 1
  assert done.stderr.startswith("error: the cache") and len(done.stderr.splitlines()) == 1
  assert not (tmp_path / "x").exists()
