"""Two processes that share a mesh compute the same as one."""

import pathlib
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
import jax
import numpy as np

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 2)
port, process = sys.argv[1:]
jax.distributed.initialize(f"127.0.0.1:{port}", 2, int(process))
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from empg_jax import empg_loss, group_advantages

rng = np.random.default_rng(0)
B, T, V = 8, 12, 16
logits = rng.normal(size=(B, T, V)).astype(np.float32)
actions = rng.integers(0, V, (B, T))
returns = rng.normal(size=B).astype(np.float32)
groups = np.arange(B) % 3  # groups straddle the processes
steps = rng.integers(0, 4, (B, T))

def loss(logits, actions, returns, groups, steps):
  return empg_loss(logits, actions, group_advantages(returns, groups), steps)[0]

value_and_grad = jax.jit(jax.value_and_grad(loss))
value, gradient = value_and_grad(logits, actions, returns, groups, steps)
mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)

def put(x, *spec):
  sharding = NamedSharding(mesh, P(*spec))
  return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])

with jax.set_mesh(mesh):
  got, got_gradient = value_and_grad(
      put(logits, "data", None, "model"),
      *(put(x, "data") for x in (actions, returns, groups, steps)),
  )
np.testing.assert_allclose(float(got), float(value), atol=1e-6)
for shard in got_gradient.addressable_shards:
  np.testing.assert_allclose(shard.data, gradient[shard.index], atol=1e-6)
print("equal on", jax.process_count(), "processes")
"""


def test_two_processes_equal_one():
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = str(free.getsockname()[1])
  processes = [
    subprocess.Popen(
      [sys.executable, "-c", PROGRAM, port, str(number)],
      cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    for number in range(2)
  ]  # fmt: skip
  try:
    for process in processes:
      out, err = process.communicate(timeout=300)
      assert process.returncode == 0, err
      assert "equal on 2 processes" in out
  finally:
    for process in processes:
      process.kill()
