"""The repository: its layout, sizes and texts."""

import ast
import importlib.metadata
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest
import readmes

ROOT = pathlib.Path(__file__).resolve().parents[1]
FILES = subprocess.run(
  ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
).stdout.split("\n")
CODE = [path for name in FILES if name.endswith(".py") and (path := ROOT / name).exists()]
FRAME = {
  "empg_jax",
  "launch",
  "configs",
  "tests",
  "requirements.txt",
  "README.md",
  "pyproject.toml",
  "LICENSE",
  ".ci",
  ".gitignore",
}


def name_of(path):
  return str(path.relative_to(ROOT))


def normal(distribution):
  """A distribution's name, without the rest of a requirement."""
  return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", distribution)[0]).lower()


def test_the_top_folder_holds_only_the_listed_entries():
  assert {name.split("/")[0] for name in FILES if name} <= FRAME


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_files_and_functions_are_short(path):
  text = path.read_text()
  assert text.count("\n") <= 300
  for node in ast.walk(ast.parse(text)):
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
      lines = node.end_lineno - node.lineno + 1 - (ast.get_docstring(node) or "").count("\n")
      assert lines <= 60, node.name


def test_no_two_files_of_the_tests_have_the_same_name():
  names = [path.name for path in CODE if path.is_relative_to(ROOT / "tests")]
  twice = {name for name in names if names.count(name) > 1} - {"conftest.py"}
  assert not twice, f"{twice}: imported by name, one would stand for the other"


@pytest.mark.parametrize("name", readmes.NAMES)
def test_the_files_that_a_readme_names_exist(name):
  text = readmes.TEXTS[name]
  for file in set(re.findall(r"\b(?:launch|configs|tests|empg_jax|\.ci)/[\w/.{}-]*\w/?", text)):
    assert (ROOT / file).exists(), f"{name} names {file}, which is not there"


@pytest.mark.parametrize("name", readmes.NAMES)
def test_the_links_of_a_readme_have_targets(name):
  for link in re.findall(r"\]\((?!https?:)([^)]+)\)", readmes.TEXTS[name]):
    file, _, heading = link.partition("#")
    target = (ROOT / name).parent / file if file else ROOT / name
    assert target.exists(), f"{name} links to {link}, which is not there"
    if heading:
      headings = re.findall(r"^#+ (.*)$", target.read_text(), re.M)
      assert heading in {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}, (
        link
      )


def test_the_front_page_is_short():
  assert len(readmes.TEXTS["README.md"].encode()) <= 10_240


def test_requirements_are_pinned_and_need_no_particular_index():
  lines = (ROOT / "requirements.txt").read_text().splitlines()
  lines = [line for line in lines if line and not line.startswith("#")]
  assert lines[0] == "-e ."
  for line in lines[1:]:
    assert re.fullmatch(r"[a-z0-9-]+==[0-9][\w.]*", line), line


def test_every_library_that_the_code_imports_is_declared():
  project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
  declared = [*project["dependencies"]]
  for extra in ("train", "gcs", "plot", "test", "textworld", "torch", "wandb", "webshop"):
    declared += project["optional-dependencies"][extra]
  declared = {normal(requirement) for requirement in declared}
  distributions = importlib.metadata.packages_distributions()
  for path in CODE:
    for library in imported(path) - sys.stdlib_module_names - OURS:
      known = {normal(name) for name in distributions.get(library, [library])}
      assert known & declared, f"{name_of(path)} imports {library}, which nothing declares"


# Test files may import their neighbours.
OURS = {"empg_jax", *(path.stem for path in CODE if name_of(path).startswith("tests/"))}


def imported(path):
  """The libraries that a file imports."""
  names = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      names |= {alias.name.split(".")[0] for alias in node.names}
    elif isinstance(node, ast.ImportFrom) and node.module:
      names.add(node.module.split(".")[0])
  return names


# Calls that execute their input or pass it to a shell.
FORBIDDEN = {
  "eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "torch.load",
  "yaml.unsafe_load", "joblib.load", "pandas.read_pickle",
}  # fmt: skip
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "torch"}


@pytest.mark.parametrize(
  "path", [path for path in CODE if not name_of(path).startswith("tests/")], ids=name_of
)
def test_input_is_never_executed(path):
  tree = ast.parse(path.read_text())
  assert not imported(path) & PICKLES
  for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
    options = {option.arg: ast.unparse(option.value) for option in call.keywords}
    assert ast.unparse(call.func) not in FORBIDDEN, f"line {call.lineno}"
    for name in ("allow_pickle", "shell", "trust_remote_code"):
      assert options.get(name, "False") == "False", f"line {call.lineno}: {name}"


def test_servers_listen_on_localhost_unless_a_host_is_given():
  for path in CODE:
    if name_of(path).startswith(("empg_jax/", "launch/")):
      text = path.read_text()
      assert "0.0.0.0" not in text, name_of(path)
      assert not re.search(r"HTTPServer|socketserver|asyncio\.start_server", text), name_of(path)
  assert '"host", "127.0.0.1"' in (ROOT / "launch" / "serve_search.py").read_text()


def test_requirements_install_all_that_is_declared_for_cpu():
  project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
  extras = project["optional-dependencies"]
  declared = {
    normal(name)
    for name in project["dependencies"]
    + [name for extra in ("train", "gcs", "plot", "test") for name in extras[extra]]
  }
  pinned = {
    line.split("==")[0]
    for line in (ROOT / "requirements.txt").read_text().splitlines()
    if "==" in line
  }
  assert declared <= pinned
