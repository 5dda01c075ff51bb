"""Scripts of launch/ as commands of an installed package: empg-train, empg-evaluate, empg-plan.

An installed package holds launch/ and configs/ as empg_jax.launch and empg_jax.configs, to which
links lead here; what has no command is run as `python -m empg_jax.launch.play`.
"""

import functools
import importlib.util
import runpy
import sys


def run(script: str) -> None:
  """Runs launch/`script`.py, with the command's own flags."""
  if importlib.util.find_spec("absl") is None:
    sys.exit(f"error: empg-{script} needs more than the loss does: pip install 'empg-jax[train]'")
  runpy.run_module(f"empg_jax.launch.{script}", run_name="__main__", alter_sys=True)


train = functools.partial(run, "train")
evaluate = functools.partial(run, "evaluate")
plan = functools.partial(run, "plan")
