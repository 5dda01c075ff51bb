"""Invalid algorithms are refused with a one-line error."""

import pytest

from empg_jax import algorithms


def test_dapo_refuses_lengths_the_wrong_way_round():
  with pytest.raises(ValueError, match="soft_length is 9 and max_length 9: .* soft_length <"):
    algorithms.make("dapo", soft_length=9, max_length=9)


def test_an_unknown_algorithm_is_refused_and_the_known_ones_are_named():
  with pytest.raises(ValueError, match="grpo"):
    algorithms.make("grop")
