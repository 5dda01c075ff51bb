"""Writes the docstrings of all public modules as pages of HTML, with pdoc.

    python -m empg_jax.cli.docs [FOLDER]

Signatures and fields show the annotations of the source, such as Float[Array, "B T"], not the
long names of their values. The folder takes a few megabytes: its pages share a style sheet and a
script, contain no source, and the browser builds the search index.
"""

import argparse
import ast
from collections.abc import Sequence
import functools
import importlib.util
import inspect
import pathlib
import re

import pdoc
from pdoc import doc, render

from empg_jax.io import json_text

PACKAGE = pathlib.Path(__file__).resolve().parents[1]


def modules() -> list[str]:
  """The package and the modules at its root, as the package's page lists only five functions."""
  packages = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
  files = [path.stem for path in PACKAGE.glob("[a-z]*.py")]
  return ["empg_jax", *(f"empg_jax.{name}" for name in sorted(packages + files))]


def write(folder: pathlib.Path, names: Sequence[str]) -> None:
  """Writes a page for each public module in `names`, and the files that the pages share."""
  evaluated = doc.Function.signature.func
  doc.Function.signature = property(lambda function: _signature(function, evaluated(function)))
  doc.Variable.annotation_str = property(_annotation)
  render.precompile_index = lambda documents, _: json_text.dumps(documents)
  render.configure(docformat="google", show_source=False)
  pdoc.pdoc(*names, "!empg_jax.*[.]_", output_directory=folder)
  for path in folder.rglob("*.html"):
    _share(path, folder)


def _share(path: pathlib.Path, folder: pathlib.Path) -> None:
  """Moves a page's styles and search script into shared files of the folder."""
  page = path.read_text()
  styles = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
  scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
  if not styles:
    return  # index.html, which leads to the first page
  root = "../" * (len(path.relative_to(folder).parts) - 1)
  (script,) = scripts
  script = script.replace(f'"{root}search.js"', 'root + "search.js"')
  script = script.replace(f"`{root}${{doc.modulename", "`${root}${doc.modulename")
  (folder / "style.css").write_text("\n".join(styles))
  (folder / "page.js").write_text("const root = document.currentScript.dataset.root;\n" + script)
  page = re.sub(r"<(style|script)>.*?</\1>\s*", "", page, flags=re.DOTALL)
  page = re.sub(
    r'<span class="visually-hidden">pdoc</span><img.*?/>', "pdoc", page, flags=re.DOTALL
  )
  page = page.replace("</head>", f'<link rel="stylesheet" href="{root}style.css">\n</head>')
  page = page.replace(
    "</body>", f'<script src="{root}page.js" data-root="{root}"></script>\n</body>'
  )
  path.write_text(page)


class _Source:
  """An annotation whose repr is its source."""

  def __init__(self, text: str):
    self._text = text

  def __repr__(self) -> str:
    return self._text


def _signature(function: doc.Function, evaluated: inspect.Signature) -> inspect.Signature:
  """The signature with the annotations of the source, where there are any."""
  texts = _annotations(*function.taken_from)
  parameters = [
    parameter.replace(annotation=_Source(texts[name])) if name in texts else parameter
    for name, parameter in evaluated.parameters.items()
  ]
  returns = _Source(texts["return"]) if "return" in texts else evaluated.return_annotation
  return evaluated.replace(parameters=parameters, return_annotation=returns)


def _annotation(variable: doc.Variable) -> str:
  module, qualname = variable.taken_from
  owner, _, name = qualname.rpartition(".")
  text = _annotations(module, owner).get(name)
  return f": {text}" if text else ""


def _annotations(module: str, qualname: str) -> dict[str, str]:
  """The annotations of a function's arguments and result, or of a class's or module's fields."""
  found = _of_module(module)
  fields = found.get(qualname.removesuffix(".__init__"), {})  # of a dataclass
  return found.get(qualname, fields if qualname.endswith(".__init__") else {})


@functools.cache
def _of_module(name: str) -> dict[str, dict[str, str]]:
  """All annotations in a module's source, by the qualified name of their owner."""
  spec = importlib.util.find_spec(name)
  if spec is None or not (spec.origin or "").endswith(".py"):
    return {}
  source = pathlib.Path(spec.origin).read_text()
  found: dict[str, dict[str, str]] = {}

  def text(node: ast.expr) -> str:
    return " ".join((ast.get_source_segment(source, node) or "").split())

  def visit(node: ast.AST, qualname: str) -> None:
    texts = found.setdefault(qualname, {})
    if isinstance(node, ast.FunctionDef):
      arguments = node.args
      every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
      every += filter(None, (arguments.vararg, arguments.kwarg))
      texts |= {each.arg: text(each.annotation) for each in every if each.annotation}
      texts |= {"return": text(node.returns)} if node.returns else {}
      return
    for child in getattr(node, "body", []):
      if isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name):
        texts[child.target.id] = text(child.annotation)
      if isinstance(child, ast.FunctionDef) and child.returns and child.decorator_list:
        texts[child.name] = text(child.returns)  # a property
      if isinstance(child, (ast.ClassDef, ast.FunctionDef)):
        visit(child, f"{qualname}.{child.name}".removeprefix("."))

  visit(ast.parse(source), "")
  return found


def main() -> None:
  """Writes the pages into the folder given on the command line; prints the first one's path."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("folder", nargs="?", default="build/api", type=pathlib.Path)
  folder = parser.parse_args().folder
  write(folder, modules())
  print(f"{folder / 'empg_jax.html'}")


if __name__ == "__main__":
  main()
