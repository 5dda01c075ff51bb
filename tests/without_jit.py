"""A step of a small run whose parts note how their results print: python without_jit.py MODEL.

For test_without_jit, in a process of its own: jit is off, and types are not checked, for what
NumPy hands to a program is no jax.Array until jit makes it one.
"""

import json
import sys

import jax

from empg_jax.config import config as configs
from empg_jax.core import losses, modulation
from empg_jax.loop import Run
from empg_jax.models.decoder import MLP

SEEN = {}


def watch(owner, name, key):
  function = getattr(owner, name)

  def watched(*args, **kwargs):
    found = function(*args, **kwargs)
    SEEN[key] = " ".join(repr(jax.tree.leaves(found)[0]).split())
    return found

  setattr(owner, name, watched)


def main(model):
  config = configs.load("alfworld:smoke")
  config.model.path = model
  config.rollout.update(tasks=1, group_size=2, max_turns=2, invalid_penalty=0.1)
  config.policy.update(slots=1, max_length=128, windows=(128,), piece_lengths=(64,), max_reply=4)
  config.pack.lengths, config.train.size = (128,), 2
  with Run(config) as run:
    run.load()
    watch(MLP, "__call__", "decoder")
    groups = run.collect(1)
    SEEN["decoder while it samples"] = SEEN.pop("decoder")
    watch(modulation, "gradient_scale", "EMPG's scale")
    watch(losses, "policy_loss", "loss")
    metrics = run.update(run.pack(groups)[1])
  print(json.dumps({"seen": SEEN, "metrics": {name: float(x) for name, x in metrics.items()}}))


if __name__ == "__main__":
  main(sys.argv[1])
