"""Only empg_jax/kernels/hardware.py depends on the hardware; other files read its values."""

import ast
import pathlib

import jax
import pytest

from empg_jax.kernels import hardware

ROOT = pathlib.Path(__file__).resolve().parents[1]
# A plan is for other hardware and names all of it.
KNOWING = {
  ROOT / "empg_jax" / "kernels" / "hardware.py",
  *(ROOT / "empg_jax" / "plan").glob("*.py"),
}
FOLDERS = "empg_jax", "launch", "configs"
FILES = sorted({path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")} - KNOWING)
HARDWARE = {"cpu", "gpu", "tpu", "cuda", "rocm"}
ASKING = {"default_backend", "jax_platforms", "platform", "platform_dependent"}  # names in JAX


def asks(tree):
  """The lines that ask JAX for the hardware, or that compare with or choose one by name."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Attribute) and node.attr in ASKING:
      if ast.unparse(node) != "sys.platform":
        yield node.lineno
    elif isinstance(node, ast.Compare | ast.Call):
      given = [node.left, *node.comparators] if isinstance(node, ast.Compare) else node.args
      if any(isinstance(x, ast.Constant) and x.value in HARDWARE for x in given):
        yield node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_file_asks_jax_for_the_hardware(path):
  assert not list(asks(ast.parse(path.read_text()))), "read empg_jax.kernels.hardware instead"


def test_a_comparison_is_found():
  assert list(asks(ast.parse('name == "tpu"'))) == [1]
  assert list(asks(ast.parse("hardware.of(device.platform)"))) == [1]
  assert list(asks(ast.parse('(jax.config.jax_platforms or "").startswith("tpu")'))) == [1, 1]
  assert list(asks(ast.parse("jax.lax.platform_dependent(x, tpu=f, default=g)"))) == [1]
  assert not list(asks(ast.parse('sys.platform == "linux"')))
  assert list(asks(ast.parse("a = 1\njax.default_backend()"))) == [2]


@pytest.mark.parametrize(
    "name, found",
    [("cpu", "cpu"), ("gpu", "gpu"), ("cuda", "gpu"), ("rocm", "gpu"), ("tpu", "tpu"),
     ("another", "cpu")],
)  # fmt: skip
def test_a_name_of_jax_is_a_kind_of_hardware(name, found):
  assert hardware.of(name).name == found


def test_a_mesh_in_context_goes_before_the_hardware_here():
  assert hardware.current() is hardware.CPU
  mesh = jax.sharding.AbstractMesh(
    (1,), ("x",), abstract_device=jax.sharding.AbstractDevice("an H100", 1, platform="cuda")
  )
  with jax.sharding.use_abstract_mesh(mesh):
    assert hardware.current() is hardware.GPU


def test_hardware_is_that_of_a_device_or_of_a_mesh():
  (device, *_) = jax.devices()
  assert hardware.of(device) is hardware.CPU
  assert hardware.of(jax.sharding.Mesh([device], "x")) is hardware.CPU


@pytest.mark.parametrize("target, found", [("cpu", 2.0), ("cuda", 2.0), ("tpu", 1.0)])
def test_the_loss_is_chosen_when_a_program_is_lowered(target, found):
  """The program is traced on a CPU."""

  @jax.jit
  def program(x):
    return hardware.dispatch_loss(x, kernels=lambda x: x + 1.0, blocks=lambda x: x + 2.0)

  text = program.trace(0.0).lower(lowering_platforms=(target,)).as_text()
  assert f"dense<{found:.6e}>" in text and f"dense<{3 - found:.6e}>" not in text
