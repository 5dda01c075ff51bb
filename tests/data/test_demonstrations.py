"""Demonstrations as a dataset: written once, read at random."""

import functools
import itertools

import pytest

from empg_jax.data.demonstrations import demonstrations
from empg_jax.envs import alfworld
from empg_jax.envs.alfworld.demos import demonstrations as played

TINY = dict(environment="alfworld", episodes=12, size="small", seed=3, noise=0.2)


def test_the_dataset_holds_what_the_expert_played(tmp_path):
  source = demonstrations(**TINY, data_dir=str(tmp_path))
  expected = {d.task: d for d in itertools.islice(played(3, "small", noise=0.2), 12)}
  assert len(source) == 12
  assert {source[i].task: source[i] for i in range(12)} == expected
  assert list(tmp_path.rglob("*.array_record*"))


def test_it_is_made_once_for_the_same_arguments(tmp_path, monkeypatch):
  first = demonstrations(**TINY, data_dir=str(tmp_path))[4]
  calls = []

  @functools.wraps(played)
  def counted(*args, **kwargs):
    calls.append(args)
    return played(*args, **kwargs)

  monkeypatch.setattr(alfworld, "demonstrations", counted)
  assert demonstrations(**TINY, data_dir=str(tmp_path))[4] == first
  assert not calls
  demonstrations(**TINY | {"seed": 4}, data_dir=str(tmp_path))
  assert len(calls) == 1


def test_the_data_folder_comes_from_the_environment(tmp_path, monkeypatch):
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
  assert len(demonstrations(**TINY)) == 12
  assert list(tmp_path.rglob("*.array_record*"))


def test_the_default_folder_is_the_cache_and_no_warning_is_printed(
  tmp_path, monkeypatch, capfd, caplog
):
  monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
  monkeypatch.setenv("EMPG_JAX_CACHE", str(tmp_path / "cache"))
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  assert len(demonstrations(**TINY)) == 12
  assert list((tmp_path / "cache").rglob("*.array_record*"))
  assert not (tmp_path / "home").exists()
  assert capfd.readouterr() == ("", "") and not caplog.records


def test_a_folder_that_cannot_be_written_is_named_with_its_variable(monkeypatch):
  monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
  for name in ("EMPG_JAX_CACHE", "TFDS_DATA_DIR"):
    monkeypatch.setenv(name, "/proc/nowhere")
    with pytest.raises(OSError, match=f"datasets /proc/nowhere.* cannot be written.*: set {name}"):
      demonstrations(**TINY)


def test_no_episodes_is_an_error(tmp_path):
  with pytest.raises(ValueError, match="at least 1"):
    demonstrations(**TINY | {"episodes": 0}, data_dir=str(tmp_path))
