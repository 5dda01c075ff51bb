"""The wheel: small, complete, and usable in another folder without the repository."""

import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

import empg_jax
from empg_jax.cli import commands

ROOT = pathlib.Path(__file__).resolve().parents[1]


def run(*command, cwd, **environment):
  """What the command prints, and its exit code."""
  environment = os.environ | {"PYTHONPATH": ""} | environment
  done = subprocess.run(
    list(map(str, command)), cwd=cwd, env=environment, text=True, timeout=900,
    stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
  )  # fmt: skip
  return done.stdout, done.returncode


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
  """Built from the files that git tracks, without network."""
  source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
  for name in ("empg_jax", "launch", "configs"):
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
  for name in ("pyproject.toml", "README.md", "LICENSE"):
    shutil.copy(ROOT / name, source / name)
  flags = ("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir")
  said, code = run(sys.executable, "-m", "pip", "wheel", *flags, out, source, cwd=out)
  assert code == 0, said
  return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
  """The folder in which the wheel alone is installed."""
  home = tmp_path_factory.mktemp("installed")
  flags = ("--no-deps", "--no-index", "--target")
  said, code = run(sys.executable, "-m", "pip", "install", *flags, home, wheel, cwd=home)
  assert code == 0, said
  return home


def test_it_is_small(wheel):
  assert wheel.stat().st_size < 10e6


def test_it_holds_the_whole_package_and_nothing_else(wheel):
  names = set(zipfile.ZipFile(wheel).namelist())
  wanted = {"empg_jax/py.typed", "empg_jax/cli/commands.py"}
  for path in (ROOT / "empg_jax").rglob("*"):
    if path.suffix == ".py" or "assets" in path.parts and path.is_file():
      wanted.add(str(path.relative_to(ROOT)))
  for folder in ("launch", "configs"):
    wanted |= {f"empg_jax/{path.relative_to(ROOT)}" for path in (ROOT / folder).glob("*.py")}
  wanted = {name for name in wanted if "__pycache__" not in name}
  package = {name for name in names if ".dist-info/" not in name}
  assert package == wanted


def test_the_loss_is_found_from_another_folder(installed, tmp_path):
  program = "import empg_jax; print(empg_jax.__file__); empg_jax.empg_loss"
  said, code = run(sys.executable, "-c", program, cwd=tmp_path, PYTHONPATH=str(installed))
  assert code == 0 and said.strip() == str(installed / "empg_jax" / "__init__.py"), said


def test_the_command_finds_its_config_its_tasks_and_its_policy(installed, tmp_path):
  command = (installed / "bin" / "empg", "train", "--config=alfworld", "--dry_run")
  said, code = run(sys.executable, *command, cwd=tmp_path, PYTHONPATH=str(installed))
  assert code == 0 and "train: 2,000" in said, said
  assert f"{installed}/empg_jax/assets/alfworld-tiny" in said
  assert not list(tmp_path.iterdir())


def test_the_help_of_every_command_is_that_of_its_script(installed, tmp_path):
  """In one process, because most of the time goes into imports."""
  program = """
import contextlib, sys
from absl import flags
from empg_jax.cli import commands
from empg_jax.soak import runs
assert runs.pathlib.Path(runs.command(runs.pathlib.Path("x"), "y", 1)[1]).is_file()
for name in commands.COMMANDS:
  with contextlib.suppress(SystemExit):
    commands.main([name.replace("_", "-"), "--help"])
  for flag in list(flags.FLAGS):
    if flags.FLAGS.find_module_defining_flag(flag, "").endswith(f"launch/{name}.py"):
      delattr(flags.FLAGS, flag)
"""
  said, code = run(sys.executable, "-c", program, cwd=tmp_path, PYTHONPATH=str(installed))
  assert code == 0 and "Traceback" not in said, said
  for name in commands.COMMANDS:
    assert f"launch/{name}.py" in said, name


def test_the_list_of_commands_fits_a_screen_and_needs_no_library(installed, tmp_path):
  program = "from empg_jax.cli import commands; commands.main(['--help'])"
  alone = (sys.executable, "-S", "-c", program)  # the standard library and the package
  said, code = run(*alone, cwd=tmp_path, PYTHONPATH=str(installed))
  assert code == 0 and len(said.splitlines()) < 24, said
  assert max(map(len, said.splitlines())) <= 100
  assert all(f"\n  {name} " in said for name in commands.COMMANDS)


def test_every_script_is_a_command():
  assert set(commands.COMMANDS) == {path.stem for path in (ROOT / "launch").glob("*.py")}


def test_without_the_libraries_of_training_a_command_says_what_to_install(installed, tmp_path):
  program = "from empg_jax.cli import commands; commands.main(['train', '--config=alfworld'])"
  said, code = run(sys.executable, "-S", "-c", program, cwd=tmp_path, PYTHONPATH=str(installed))
  assert code == 1
  assert said == "error: empg train needs absl: pip install 'empg-jax[train]'\n"


@pytest.mark.parametrize("library, extra", [("flax", "train"), ("matplotlib", "plot")])
def test_a_missing_library_is_named_with_its_extra(monkeypatch, library, extra):
  def missing(*_, **__):
    raise ModuleNotFoundError("no", name=f"{library}.part")

  monkeypatch.setattr(commands.runpy, "run_module", missing)
  monkeypatch.setattr(commands.importlib.util, "find_spec", lambda name: None)
  monkeypatch.setattr(sys, "argv", ["empg"])
  with pytest.raises(SystemExit, match=rf"empg plot needs {library}: .*empg-jax\[{extra}\]'"):
    commands.main(["plot"])


def test_a_mistyped_command_is_refused_with_the_nearest(capsys):
  with pytest.raises(SystemExit, match="there is no command evalute: did you mean evaluate"):
    commands.main(["evalute"])
  commands.main(["--version"])
  assert capsys.readouterr().out == f"empg {empg_jax.__version__}\n"
