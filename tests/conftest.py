"""Every test runs on eight virtual CPU devices, with shapes and types checked.

Set before anything imports jax or the package: the types in signatures are
checked while the tests run, and only then.
"""

import pathlib

import hypothesis
import jax
import jaxtyping
import pytest

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")

jaxtyping.install_import_hook("empg_jax", "beartype.beartype")

# The same examples on every machine, however slow, and none left on disk.
hypothesis.settings.register_profile("empg_jax", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("empg_jax")


@pytest.fixture(autouse=True, scope="session")
def _cache_of_its_own(tmp_path_factory):
  """What the environments build on disk, they build where pytest cleans up."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("EMPG_JAX_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield


_MAPS = pathlib.Path("/proc/self/maps")  # of Linux
_MANY_MAPS = 20_000  # it lets a process have 65,530


@pytest.fixture(autouse=True, scope="module")
def _room_for_programs():
  """Every compiled program maps memory, and XLA falls over where there can be no more."""
  yield
  if _MAPS.exists() and _MAPS.read_bytes().count(b"\n") > _MANY_MAPS:
    jax.clear_caches()
