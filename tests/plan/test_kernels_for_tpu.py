"""The kernels compile for every chip of the plans, forward and backward.

Skipped where libtpu is not installed (pip install 'jax[tpu]').
"""

import importlib.util
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.usefixtures("optimized")
ROOT = pathlib.Path(__file__).resolve().parents[2]

# In a process of its own, whose JAX has not looked for devices yet.
PROGRAM = """
import sys
import jax, jax.numpy as jnp
from empg_jax.plan import topology
topology.prepare(sys.argv[1])
from jax.sharding import NamedSharding, PartitionSpec
from empg_jax.distributed import sharding
from empg_jax.core.fused import fused_token_stats

mesh = sharding.make_mesh(devices=topology.devices(sys.argv[1])[:1])
whole = NamedSharding(mesh, PartitionSpec())
shape = lambda shape, dtype: jax.ShapeDtypeStruct(shape, dtype, sharding=whole)

def loss(hidden, unembedding, actions):
  logprobs, entropy = fused_token_stats(hidden, unembedding, actions, compute_dtype="bfloat16")
  return jnp.sum(logprobs) + jnp.sum(entropy)

operands = (shape((1, 8192, 896), jnp.bfloat16), shape((896, 151_936), jnp.float32),
            shape((1, 8192), jnp.int32))
with jax.set_mesh(mesh):
  lowered = jax.jit(jax.grad(loss, (0, 1))).trace(*operands).lower(lowering_platforms=("tpu",))
  compiled = lowered.compile(compiler_options={"exec_time_optimization_effort": -1.0})
text = compiled.as_text()
print(text.count("tpu_custom_call"), compiled.memory_analysis().temp_size_in_bytes)
"""


@pytest.mark.skipif(
  importlib.util.find_spec("libtpu") is None,
  reason="there is no TPU compiler: pip install 'jax[tpu]' brings it",
)
@pytest.mark.parametrize("topology", ["v5e:2x2", "v5p:2x2x1", "v6e:2x2"])
def test_token_statistics_compile_without_the_logits(topology):
  done = subprocess.run(
    [sys.executable, "-c", PROGRAM, topology], cwd=ROOT, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  kernels, temporaries = map(int, done.stdout.split())
  assert kernels >= 2  # forward and backward
  assert temporaries < 8192 * 151_936  # a quarter of the float32 logits
