"""The README's algorithm in one file is found by its name, alone and with EMPG around it."""

import sys

import jax.numpy as jnp
import pytest
import readmes
import reference

from empg_jax import algorithms

MODULE = "my_lab.winners"


@pytest.fixture(autouse=True)
def _written_down(tmp_path, monkeypatch):
  file = tmp_path / "my_lab" / "winners.py"
  file.parent.mkdir()
  blocks = readmes.blocks("empg_jax/README.md", "python")
  (code,) = [block for block in blocks if "def make(" in block]
  file.write_text(code)
  monkeypatch.syspath_prepend(str(tmp_path))
  yield
  for name in (MODULE, "my_lab"):
    sys.modules.pop(name, None)


def test_losing_episodes_have_no_advantage():
  batch = reference.drawn()
  grpo, _ = algorithms.make("grpo").advantages(batch, batch.behavior_entropy)
  signal, _ = algorithms.make(MODULE).advantages(batch, batch.behavior_entropy)
  assert (grpo.advantages < 0).any()
  assert (signal.advantages == jnp.maximum(grpo.advantages, 0)).all()


def test_empg_wraps_it():
  batch = reference.drawn()
  algorithm = algorithms.make("empg", base={"name": MODULE})
  signal, metrics = algorithm.advantages(batch, batch.behavior_entropy)
  assert jnp.isfinite(signal.advantages).all() and "empg/steps" in metrics
