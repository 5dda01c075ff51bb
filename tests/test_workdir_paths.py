"""Paths are expanded alike in every flag, and recorded paths hold from any folder."""

import ast
import os
import pathlib
import re
import subprocess
import sys

from absl import flags
import pytest

from empg_jax.cli import command_line
from empg_jax.config import config as configs
from empg_jax.envs import alfworld, deep_search, webshop
from empg_jax.io import paths
from empg_jax.models import folder

ROOT = pathlib.Path(__file__).resolve().parents[1]
PATHS = {"workdir", "out", "checkpoint", "model", "json", "keep", "replay", "corpus"}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  (tmp_path / "home").mkdir()
  return tmp_path / "home"


def test_home_folders_are_expanded_and_unknown_ones_refused(home):
  assert paths.expanded("~/runs") == f"{home}/runs"
  assert paths.expanded("runs/~") == "runs/~"
  with pytest.raises(
    ValueError, match="no home folder '~no_such_user' of .*: write ./~no_such_user/x"
  ):
    paths.expanded("~no_such_user/x")


@pytest.mark.parametrize("path", sorted((ROOT / "launch").glob("*.py")), ids=lambda path: path.name)
def test_every_flag_for_a_path_takes_a_home_folder_also_the_workdir(path):
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
      name = getattr(node.func, "attr", "")
      takes_text = name.lower().startswith("define") and name != "DEFINE_enum"
      if node.args[0].value in PATHS and takes_text:
        assert name in ("define_path", "define_paths"), f"--{node.args[0].value}"


def test_every_path_flag_expands_home_folders():
  for path in (ROOT / "empg_jax").rglob("*.py"):
    if path != ROOT / "empg_jax" / "io" / "paths.py":
      assert "expanduser(" not in path.read_text(), path


@pytest.mark.parametrize(
  "name, use",
  [
    ("ALFWORLD_DATA", lambda: alfworld.tasks("train", games="official")),
    ("WEBSHOP_DATA", lambda: webshop.tasks("test", catalogue="small")),
    ("DEEP_SEARCH_DATA", lambda: deep_search.make(corpus="files")),
  ],
)
def test_an_unknown_home_folder_is_refused_everywhere(monkeypatch, name, use):
  monkeypatch.setenv(name, "~no_such_user/data")
  with pytest.raises(ValueError, match="no home folder '~no_such_user'") as error:
    use()
  assert command_line.is_for_the_user(error.value)


def test_flags_of_paths_are_parsed(home):
  values = flags.FlagValues()
  out = command_line.define_path("out", None, "a folder", flag_values=values)
  workdirs = command_line.define_paths("workdir", "of a run", flag_values=values)
  values(["script", "--out=~/x", "--workdir=~/a", "--workdir=b"])
  assert (out.value, workdirs.value) == (f"{home}/x", [f"{home}/a", "b"])
  with pytest.raises(flags.IllegalFlagValueError, match="no home folder"):
    values(["script", "--out=~no_such_user/x"])


def test_a_model_is_found_from_any_folder(home, tmp_path, monkeypatch):
  (home / "m").symlink_to(folder.locate("alfworld-tiny"))
  monkeypatch.chdir(home)
  assert folder.locate("~/m") == home / "m"
  assert paths.absolute("m") == paths.absolute("~/m") == paths.absolute("./m") == f"{home}/m"
  # Names that are not paths, or paths that do not exist, are unchanged.
  assert paths.absolute("alfworld-tiny") == "alfworld-tiny"
  assert paths.absolute("nowhere/m") == "nowhere/m"
  assert paths.absolute("") == ""


def test_a_config_is_found_in_a_home_folder(home):
  (home / "c.py").symlink_to(ROOT / "configs" / "alfworld.py")
  assert configs.load("~/c.py:tiny").model.path == "alfworld-tiny"


SHOWS = """
from ml_collections import config_flags
from empg_jax.cli import command_line
command_line.define_path("workdir", None, "where it is kept")
config = config_flags.DEFINE_config_file("config", None, "")
command_line.run(lambda _: print(config.value.model.path))
"""


def test_a_resume_or_export_finds_the_model_from_any_folder(home, tmp_path):
  (home / "m").mkdir()
  script = tmp_path / "script.py"
  script.write_text(SHOWS)

  def said(*arguments):
    return subprocess.run(
      [sys.executable, str(script), *arguments], cwd=home,
      env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    ).stdout  # fmt: skip

  assert said("--config=alfworld", "--config.model.path=m") == f"{home}/m\n"
  assert "--workdir: where it is kept" in said("--help")


# What opens a path or fails for one in a bucket; and where that is of a disk, or no path of users.
OPENS = ("pathlib.Path", "open", "os.open", "gzip.open", "zipfile.ZipFile", "np.load")
DISK_ONLY = ("absolute", "resolve", "mkdir", "write_text", "write_bytes", "rename", "glob", "rglob")
OURS = (
  r"__file__|sys\.argv\[0\]|os\.devnull|'/proc/.*|spec\..*|frames\[-1\]\.filename|packed|snapshot.*"
)
ELSEWHERE = {
  "empg_jax/io/paths.py", "empg_jax/io/cache.py",  # the way itself
  "empg_jax/io/gguf_reader.py", "empg_jax/models/folder.py",  # of models that are located
  "empg_jax/models/fingerprint.py", "empg_jax/chat/__init__.py",
  "empg_jax/config/config.py", "empg_jax/cli/command_line.py",  # --config's file is code
  "empg_jax/checkpoint/literal_path.py", "empg_jax/workdir/lock.py",  # of disks
  "empg_jax/data/prepared.py", "empg_jax/workers/process.py", "launch/export.py",
  "empg_jax/cli/docs.py",  # the docstrings' pages
}  # fmt: skip
# Of copies and of what is made on this host's disk: their paths come from io.cache, or are refused.
ON_DISK = ("empg_jax/envs/", "empg_jax/soak/", "launch/soak.py", "launch/serve_search.py")


def opened(path):
  """The calls in a file that open a path, or that a path in a bucket cannot answer."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Call):
      name = ast.unparse(node.func)
      given = ast.unparse(node.args[0]) if node.args else ""
      if name in OPENS and not re.fullmatch(OURS, given):
        yield ast.unparse(node)
      elif name.rpartition(".")[2] in DISK_ONLY and "." in name and "__file__" not in name:
        if name != "paths.absolute":
          yield ast.unparse(node)


@pytest.mark.parametrize(
  "path",
  sorted([*(ROOT / "empg_jax").rglob("*.py"), *(ROOT / "launch").glob("*.py")]),
  ids=lambda path: str(path.relative_to(ROOT)),
)
def test_only_io_paths_opens_paths_of_users(path):
  name = path.relative_to(ROOT).as_posix()
  if name not in ELSEWHERE and not name.startswith(ON_DISK):
    assert list(opened(path)) == []


def test_calls_that_open_a_path_are_found(tmp_path):
  (tmp_path / "x.py").write_text(
    "open(name)\npathlib.Path(a).read_text()\nfile.write_text('')\n"
    "pathlib.Path(__file__)\nopen(os.devnull)\npaths.of(a).read_text()\n"
  )
  found = ["open(name)", "pathlib.Path(a)", "file.write_text('')"]
  assert sorted(opened(tmp_path / "x.py")) == sorted(found)
