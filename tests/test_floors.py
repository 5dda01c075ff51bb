"""The floors of the code: modules import only from lower floors and load few libraries."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "empg_jax"

# Every folder and module of the package's root, by floor.
FLOORS = {
  0: {"io", "kernels", "types"},
  1: {"chat", "config", "console", "core"},
  2: {"algorithms", "distributed", "envs"},
  3: {"data", "models", "tracking", "workers"},
  4: {"checkpoint", "generation", "pages", "rollout", "training"},
  5: {"evaluation", "loop", "plan", "soak", "workdir"},
  6: {"benchmark", "cli", "plots"},
}
FLOOR = {name: floor for floor, names in FLOORS.items() for name in names}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def imported(path):
  """The full names of all modules that a file imports, wherever in it."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{path} imports relatively: write the whole name"
      # "from empg_jax import console" imports a module, "from empg_jax.core import x" one of it.
      yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_root_holds_folders_and_two_modules():
  assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "console.py", "types.py"}


def unit(path):
  """The module or folder of the package that a file belongs to: "core", "config"."""
  return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_lower_floors(path):
  assert unit(path) in FLOOR, f"{unit(path)} is on no floor yet: place it in FLOORS"
  for name in imported(path):
    if not name.startswith("empg_jax."):
      continue
    other = name.split(".")[1]
    allowed = other == unit(path) or FLOOR.get(other, 9) < FLOOR[unit(path)]
    assert allowed, f"{path.relative_to(ROOT)} imports {name}, which is not on a lower floor"


@pytest.mark.parametrize(
  "path", sorted((PACKAGE / "envs").rglob("*.py")), ids=lambda path: path.name
)
def test_environments_never_import_jax(path):
  for name in imported(path):
    assert name.split(".")[0] not in ("jax", "jaxlib", "jaxtyping"), name


def loaded_by(code):
  """The names of the libraries that a fresh interpreter has loaded after `code`."""
  libraries = ("jax", "flax", "optax", "orbax", "transformers", "textworld", "absl")
  program = f"{code}; import sys; print(*[m for m in {libraries} if m in sys.modules])"
  return subprocess.run(
    [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
  ).stdout.split()


def test_pallas_is_loaded_before_anything_is_traced():
  """From jax 0.11 on, loading it in the first trace makes everything compile a second time."""
  loaded = "import empg_jax.core.fused, sys; assert 'jax.experimental.pallas.tpu' in sys.modules"
  subprocess.run([sys.executable, "-c", loaded], cwd=ROOT, check=True)


def test_importing_the_package_loads_no_library_but_jax():
  assert set(loaded_by("import empg_jax")) <= {"jax"}
