"""The algorithm's type hints pass mypy --strict."""

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORE = sorted((ROOT / "empg_jax" / "core").glob("*.py"))


def mypy(*arguments, cwd=ROOT):
  """mypy's output, and whether it found no errors."""
  command = [sys.executable, "-m", "mypy", f"--cache-dir={os.devnull}", *arguments]
  done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)
  return done.stdout + done.stderr, done.returncode == 0


def test_mypy_finds_nothing_in_the_core():
  said, clean = mypy()
  assert clean, said
  read = int(re.search(r"no issues found in (\d+) source files", said)[1])
  assert read >= len(CORE) + 2


def test_no_type_error_is_ignored():
  for path in CORE:
    assert "type: ignore" not in path.read_text(), path


def test_type_checkers_see_that_the_package_is_typed():
  assert (ROOT / "empg_jax" / "py.typed").exists()
