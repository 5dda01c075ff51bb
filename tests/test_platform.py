"""One file knows hardware: empg_jax/kernels/hardware.py. All others read what it says."""

import ast
import pathlib

import jax
import pytest

from empg_jax.kernels import hardware

ROOT = pathlib.Path(__file__).resolve().parents[1]
# A plan is of chips that are not there: it names them all.
KNOWING = {
  ROOT / "empg_jax" / "kernels" / "hardware.py",
  *(ROOT / "empg_jax" / "plan").glob("*.py"),
}
FOLDERS = "empg_jax", "launch", "configs"
FILES = sorted({path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")} - KNOWING)
HARDWARE = {"cpu", "gpu", "tpu", "cuda", "rocm"}


def asks(tree):
  """The lines that ask JAX what hardware there is, or compare its name."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Attribute) and node.attr == "default_backend":
      yield node.lineno
    elif isinstance(node, ast.Compare):
      sides = [node.left, *node.comparators]
      if any(isinstance(x, ast.Constant) and x.value in HARDWARE for x in sides):
        yield node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_file_asks_for_the_hardware(path):
  assert not list(asks(ast.parse(path.read_text()))), "read empg_jax.kernels.hardware instead"


def test_a_comparison_is_found():
  assert list(asks(ast.parse('x.platform == "tpu"'))) == [1]
  assert list(asks(ast.parse("a = 1\njax.default_backend()"))) == [2]


@pytest.mark.parametrize(
    "name, found",
    [("cpu", "cpu"), ("gpu", "gpu"), ("cuda", "gpu"), ("rocm", "gpu"), ("tpu", "tpu"),
     ("another", "cpu")],
)  # fmt: skip
def test_a_name_of_jax_is_a_kind_of_hardware(name, found):
  assert hardware.of(name).name == found


def test_a_mesh_in_context_tells_before_what_is_here():
  assert hardware.current() is hardware.CPU
  mesh = jax.sharding.AbstractMesh(
    (1,), ("x",), abstract_device=jax.sharding.AbstractDevice("an H100", 1, platform="cuda")
  )
  with jax.sharding.use_abstract_mesh(mesh):
    assert hardware.current() is hardware.GPU
