"""Every test runs on eight virtual CPU devices, with shapes and types checked.

Set before anything imports jax or the package: the types in signatures are
checked while the tests run, and only then.
"""

import hypothesis
import jax
import jaxtyping
import pytest

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")

jaxtyping.install_import_hook("empg_jax", "beartype.beartype")

# The same examples on every machine, however slow, and none left on disk.
hypothesis.settings.register_profile(
    "empg_jax", deadline=None, derandomize=True, database=None
)
hypothesis.settings.load_profile("empg_jax")


@pytest.fixture(autouse=True, scope="session")
def _cache_of_its_own(tmp_path_factory):
  """What the environments build on disk, they build where pytest cleans up."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("EMPG_JAX_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
