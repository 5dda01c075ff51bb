"""Advantages with the deviation of a population or of a sample, by the config."""

import functools

import jax
import numpy as np
import pytest
import reference

from empg_jax import algorithms

REFERENCE = {
  "gigpo": reference.gigpo,
  "sampo": reference.gigpo,
  "reinforce_pp": reference.reinforce_pp,
}
NAMES = ["grpo", "dapo", "gspo", "cispo", "gigpo", "sampo", "reinforce_pp"]


@functools.partial(jax.jit, static_argnames="ddof")
def every(batch, ddof):
  made = {name: algorithms.make(name, ddof=ddof) for name in NAMES}
  return {name: a.advantages(batch, batch.behavior_entropy)[0] for name, a in made.items()}


@pytest.mark.parametrize("ddof", [0, 1])
def test_it_equals_plain_loops(ddof):
  batch = reference.drawn()
  for name, signal in every(batch, ddof).items():
    want = REFERENCE.get(name, reference.of_episodes)(batch, ddof=ddof)
    for key, places in reference.steps_of(batch).items():
      got = [signal.advantages[place] for place in places]
      np.testing.assert_allclose(got, want[key], atol=2e-5, err_msg=f"{name} {key}")


@pytest.mark.parametrize("name", NAMES)
def test_another_ddof_is_refused_before_a_run(name):
  with pytest.raises(ValueError, match="ddof is 2, but must be one of 0, 1"):
    algorithms.make(name, ddof=2)
