"""The programs of a plan are those of its config: adapters, and parameters of its type."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# In a process without the tests' type checks, which a batch of shapes does not pass.
PROGRAM = """
import math, jax
jax.config.update("jax_num_cpu_devices", 8)
from empg_jax.config import config as configs
from empg_jax.distributed import sharding
from empg_jax.models.decoder import DecoderConfig
from empg_jax.plan import programs

config = configs.load("configs/alfworld.py:qwen2.5-1.5b")
config.rollout.update(dict(tasks=1, group_size=8))
config.train.update(dict(minibatches=1))
config.pack.lengths = (64,)
shape = DecoderConfig(256, 32, 64, 2, 4, 2, 8)
for rank, dtype in ((0, "float32"), (2, "float32"), (2, "bfloat16")):
  config.lora.rank, config.model.dtype = rank, dtype
  traced = programs.train(config, shape, sharding.make_mesh(**config.mesh)).traced
  print(sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(traced.in_avals)))
"""


def test_a_frozen_base_has_no_moments_and_may_be_halved():
  done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  whole, adapted, halved = map(int, done.stdout.split())
  parameters = 4 * (256 * 32 + 2 * (32 * 32 * 2 + 2 * 32 * 16 + 3 * 32 * 64))
  # Parameters, two moments and half a reference, against a base that is the reference too.
  assert whole == pytest.approx(3.5 * parameters, rel=0.06)
  assert parameters < adapted < 1.5 * parameters
  assert adapted - halved == pytest.approx(parameters / 2, rel=0.05)
