"""The API reference is built from the docstrings without a warning."""

import ast
import html
import pathlib
import re
import subprocess
import sys

import pytest
import readmes

import empg_jax

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_every_public_module_has_its_page(tmp_path):
  (command,) = readmes.blocks("empg_jax/README.md", "bash")
  assert command.split()[2] == "empg_jax.cli.docs"
  command = command.replace(".venv/bin/python", sys.executable)
  command = command.replace("build/api", str(tmp_path))
  done = subprocess.run(
    ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=900
  )
  assert done.returncode == 0, done.stderr
  assert not re.search("warn", done.stderr, re.IGNORECASE), done.stderr
  for path in (ROOT / "empg_jax").rglob("*.py"):
    name = path.relative_to(ROOT).with_suffix("")
    name = name.parent if name.name == "__init__" else name
    if not any(part.startswith("_") for part in name.parts):
      assert tmp_path.joinpath(*name.parts).with_suffix(".html").exists(), name
  first = (tmp_path / "empg_jax.html").read_text()
  assert all(f'id="{name}"' in first for name in empg_jax.__all__)
  assert "jaxlib" not in first
  signature = first[first.index('id="empg_loss"') : first.index('id="fused_token_stats"')]
  text = html.unescape(re.sub("<[^>]*>", "", signature))
  assert 'logits: Float[Array, "B T V"],' in text and "k: Scalar = 1.0," in text
  assert ') -> tuple[Float[Array, ""], Metrics]:' in text
  assert "<style>" not in first and (tmp_path / "style.css").stat().st_size > 10_000
  assert sum(path.stat().st_size for path in tmp_path.rglob("*.*")) < 5e6


def test_equations_and_examples_are_indented_as_code():
  for path in (ROOT / "empg_jax").rglob("*.py"):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
        for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
          assert not re.match("  ? ?[^ ]", paragraph), f"{path}: {paragraph}"
