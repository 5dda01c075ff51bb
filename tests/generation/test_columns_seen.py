"""How much of a cache a turn looks at."""

import jax.numpy as jnp
import pytest

from empg_jax.generation import cache as caching
from empg_jax.kernels import hardware
from empg_jax.models.decoder import DecoderConfig

SHAPE = DecoderConfig(8, 8, 8, 1, 1, 1, 8)


@pytest.mark.parametrize("here", [hardware.CPU, hardware.GPU, hardware.TPU])
@pytest.mark.parametrize("window, seen", [(32, 32), (48, 48), (64, 100), (96, 100)])
def test_a_window_of_more_than_half_of_the_cache_is_not_copied(monkeypatch, here, window, seen):
  monkeypatch.setattr(hardware, "current", lambda: here)
  cache = caching.empty(SHAPE, 1, 100, 4, jnp.dtype("float32"))
  assert caching.columns(cache, window) == (seen if here.cuts_once else window)
