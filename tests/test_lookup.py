"""A name finds its module or table entry; a wrong name is refused with the valid ones."""

import re
import sys

import pytest

from empg_jax import envs
from empg_jax.config import lookup


@pytest.fixture
def package(tmp_path, monkeypatch):
  """A package `bakery` with the modules `bread` and `cake` and a private one."""
  folder = tmp_path / "bakery"
  folder.mkdir()
  for name in ("__init__", "bread", "cake", "_oven"):
    (folder / f"{name}.py").write_text(f"NAME = '{name}'\n")
  monkeypatch.syspath_prepend(str(tmp_path))
  yield "bakery"
  for module in [m for m in sys.modules if m.split(".")[0] == "bakery"]:
    del sys.modules[module]


def test_a_module_is_found_by_its_file_name(package):
  assert lookup.find(package, "bread").NAME == "bread"


def test_a_misspelt_module_is_refused_with_the_closest_and_all_names(package):
  with pytest.raises(ValueError) as error:
    lookup.find(package, "cakes")
  assert str(error.value) == (
    "bakery has no module 'cakes': did you mean 'cake'? there are bread, cake"
  )


def test_private_modules_are_not_found(package):
  with pytest.raises(ValueError, match="no module '_oven'"):
    lookup.find(package, "_oven")


def test_an_error_inside_a_module_is_not_taken_for_a_missing_one(package, tmp_path):
  (tmp_path / "bakery" / "pie.py").write_text("import no_such_dependency\n")
  with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
    lookup.find(package, "pie")


def test_a_module_elsewhere_is_found_by_its_full_name(package):
  assert lookup.find_or_import("empg_jax.envs", "bakery.bread").NAME == "bread"
  assert lookup.find_or_import(package, "cake").NAME == "cake"


@pytest.mark.parametrize("name", ["bakery.pie", "no_such_folder.pie", "../bakery.bread", "."])
def test_a_missing_module_is_refused_with_pythons_search_path(package, name):
  with pytest.raises(ValueError, match=f"no module '{re.escape(name)}': .* PYTHONPATH"):
    lookup.find_or_import("empg_jax.envs", name)


def test_an_error_inside_a_module_elsewhere_propagates(package, tmp_path):
  (tmp_path / "bakery" / "pie.py").write_text("import no_such_dependency\n")
  with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
    lookup.find_or_import("empg_jax.envs", "bakery.pie")


def test_a_module_that_is_not_an_environment_is_refused(package):
  with pytest.raises(ValueError, match="bakery.bread is no environment: it has no make, tasks"):
    envs.find("bakery.bread")


def test_a_table_entry_is_returned_or_refused_with_the_choices():
  table = {"tiny": 1, "tiny-full": 2}
  assert lookup.get(table, "tiny", "preset") == 1
  with pytest.raises(ValueError) as error:
    lookup.get(table, "tinny", "preset")
  assert str(error.value) == (
    "there is no preset 'tinny': did you mean 'tiny'? there are tiny, tiny-full"
  )


def test_the_message_without_any_choices_is_a_sentence():
  assert lookup.unknown("there is no file", "x", []) == "there is no file 'x': there is nothing"
