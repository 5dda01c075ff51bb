"""Checks new hardware in a few minutes, before the long run.

  python launch/check.py --config=configs/FILE.py:PRESET --workdir=RUN
  python launch/train.py --config=configs/FILE.py:PRESET --workdir=RUN

With the flags of launch/train.py, on every host of the run: joins the hosts, writes to the workdir
and reads it again, loads the model, compiles the config's programs, plays a group of episodes,
makes updates, saves and restores, and prints a table of what was planned and what was measured. It
ends with exit code 1 and a sentence at the first thing that cannot be done. The run that follows
finds the compiled programs; a workdir whose run has begun is not checked again.
"""

from ml_collections import config_flags

from empg_jax.checkpoint import orbax_logs
from empg_jax.cli import check, command_line
from empg_jax.distributed import hosts
from empg_jax.io import paths
from empg_jax.kernels import hardware
from empg_jax.loop import Run
from empg_jax.workdir import lock, resume

_CONFIG = config_flags.DEFINE_config_file("config", None, "configs/FILE.py[:PRESET]")
_WORKDIR = command_line.define_path("workdir", None, "the run's folder; default: runs/ENVIRONMENT")


def main(_):
  hosts.join()
  config = _CONFIG.value
  workdir = paths.of(_WORKDIR.value or f"runs/{config.env.name}")
  with hosts.together(), Run(config) as run:
    lock.take(workdir)
    if resume.has_begun(workdir):
      return hosts.print_once(f"the run in {workdir} has begun: nothing is left to check")
    hardware.keep_programs(workdir / "compiled")
    orbax_logs.silence()
    hosts.print_once(f"check of {command_line.config_name()} in {workdir}")
    for row in check.rows(run, workdir):
      hosts.print_once(str(row))


if __name__ == "__main__":
  hardware.prepare()
  command_line.run(main)
