"""A state and a batch for the tests of updates; see updates.py."""

import pytest
import updates


@pytest.fixture
def state():
  return updates.new_state()


@pytest.fixture(scope="session")
def batch():
  return updates.small_batch()
