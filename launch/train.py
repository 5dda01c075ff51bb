"""Trains a policy by reinforcement learning.

  python launch/train.py --config=configs/alfworld.py [--workdir=runs/alfworld]
  python launch/train.py --config=... --workdir=RUN --replay=RUN/skipped/step_7.npz
  python launch/train.py --config=... --workdir=NEW --init_from=RUN[@STEP]

Prints a line a step and a table of success by task type at the end, and leaves in the
workdir metrics.jsonl, config.json, checkpoints/, and in episodes/ what was played in every
evaluation and before every checkpoint but a stop's. Started again with the same workdir, it goes
on from the newest checkpoint; a larger num_steps extends it. empg_jax/config/key_kinds.py has what
else may change then, some of it with --amend. SIGTERM or Ctrl-C make it save after the turn or the
update that it is at, and end with exit code 0; a second Ctrl-C ends it at once. A batch whose
update was not finite is kept in skipped/; --replay runs it through the update from the newest
checkpoint, prints the metrics and ends. --dry_run prints what the run would take, and ends, with
exit code 1 if something is missing; --show_config prints the whole config before it.

On several hosts every one runs this command (launch/tpu/), with a workdir that all of them
see. Each plays its share of the episodes in environments of its own and tells the others what
was read and written; the devices of all of them share the sampling and the update.
"""

import contextlib
import functools
import time

from absl import flags
from ml_collections import config_flags

from empg_jax import envs
from empg_jax.checkpoint import Checkpointer, orbax_logs
from empg_jax.cli import command_line, dry_run
from empg_jax.config import config as configs
from empg_jax.distributed import hosts, preemption
from empg_jax.generation.read import read
from empg_jax.generation.write import write
from empg_jax.io import paths
from empg_jax.kernels import hardware
from empg_jax.loop import Run, settings
from empg_jax.models import fetching, fingerprint
from empg_jax.rollout import play
from empg_jax.rollout.rows import explain_rows
from empg_jax.tracking import episode_files, metrics, report, trackers
from empg_jax.training import guard, replay
from empg_jax.training.step import train_step
from empg_jax.workdir import init_from, lock, resume

_CONFIG = config_flags.DEFINE_config_file("config", None, "configs/FILE.py[:PRESET]")
_REPLAY = command_line.define_path("replay", None, "a batch that the run kept, to update on again")
_WORKDIR = command_line.define_path("workdir", None, "its folder; default: runs/ENVIRONMENT")
_TENSORBOARD = flags.DEFINE_bool("tensorboard", True, "write WORKDIR/tensorboard too")
_WANDB = flags.DEFINE_string("wandb", None, "a project on Weights & Biases to show the run in")
_AMEND = flags.DEFINE_bool("amend", False, "go on with other values of what steers the training")
_INIT_FROM = command_line.define_path("init_from", None, "RUN[@STEP] that a new run begins with")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "print what the run would take, and end")
_SHOW_CONFIG = flags.DEFINE_bool("show_config", False, "with --dry_run, print all values first")


def main(_):
  hosts.join()
  with hosts.together(), preemption.listening() as asked_to_stop:
    config = _CONFIG.value
    workdir = paths.of(_WORKDIR.value or f"runs/{config.env.name}")
    if _DRY_RUN.value:
      return describe(config, envs.find(config.env.name), workdir)
    kept = replay.load(_REPLAY.value) if _REPLAY.value else None
    origin = init_from.find(workdir, _INIT_FROM.value, config)
    with Run(config, asked_to_stop=asked_to_stop) as run:
      train(run, workdir, origin, kept)


def train(run, workdir, origin, kept):
  config = run.config
  changes = claim(workdir, config, run.algorithm, origin)
  shown = report.opening(config, workdir, command_line.config_name())
  checkpointer = make_checkpointer(workdir, **config.checkpoint)
  run.load()
  first = restore(checkpointer, run)
  if kept is not None:
    return update_again(run, kept)
  go_on(workdir, config, changes, first)
  keep = functools.partial(
    episode_files.write, workdir, text=run.chat.text, task_type=run.environment.task_type
  )
  with open_writer(config, workdir, first + 1) as writer:
    try:
      with report.compiling("the sampler"):
        evaluate_first(run, writer, keep, shown)
      for step in range(first + 1, config.num_steps + 1):
        with report.compiling("the sampler"):
          groups = run.collect(step)
        guard.check_aborted(groups.played, config.rollout.max_aborted, step)
        begun = time.monotonic()
        order, rows = run.pack(groups)
        with report.compiling("the update"):
          updated = run.update(rows)
        watched, notes = guard.watch(step, updated, rows, groups.kept, writer.rows, workdir)
        report.notes(notes)
        guard.check_finite(int(run.state.skipped), step)
        took = dict(rollout_s=groups.seconds, update_s=time.monotonic() - begun)
        writer.write(step, play.summarize(groups), updated, watched)
        writer.write(step, report.throughput(groups.played, rows, **took), compiled())
        if saves(config, step) and hosts.is_first():
          keep(step, "train", groups.played, values=explain_rows(run.algorithm, order, rows))
        if play.evaluates(config, step):
          writer.write(step, run.evaluate(step, keep=keep))
        shown.row(writer.flush())
        if saves(config, step):
          checkpointer.save(step, run.saved(), scores=metrics.scores(writer.rows))
    except preemption.Stopped:
      return leave(run, writer, checkpointer, shown)
  checkpointer.close()
  shown.gain(writer.rows)


def evaluate_first(run, writer, keep, shown):
  """The evaluation before training, or the one in whose midst the run was stopped."""
  if not writer.rows:
    writer.write(0, run.evaluate(0, keep=keep))
    shown.row(writer.flush())
  elif play.owes_evaluation(run.config, writer.rows[-1]):
    shown.row(writer.amend(run.evaluate(writer.rows[-1]["step"], keep=keep)))


def leave(run, writer, checkpointer, shown):
  """Saves what a run that was asked to stop has done."""
  if row := writer.flush():
    shown.row(row)
  done = writer.rows[-1]["step"] if writer.rows else 0
  if done and not checkpointer.holds(done):
    checkpointer.save(done, run.saved(), scores=metrics.scores(writer.rows))
  checkpointer.close()
  hosts.print_once(f"stopped after step {done}: the same command goes on from there")


def describe(config, environment, workdir):
  """Prints what the run would take, on machines that need not be here."""
  with fetching.without_weights():
    settings.check(config, environment, devices=dry_run.devices(config))
    init_from.find(workdir, _INIT_FROM.value, config)
    resume.check(workdir, config, **resumed(workdir))
    preset = command_line.config_name().partition(":")[2]
    with_config = dict(show_config=_SHOW_CONFIG.value)
    for line in dry_run.lines(config, environment, workdir, preset, **with_config):
      hosts.print_once(line)


def claim(workdir, config, algorithm, origin):
  """Makes the workdir this run's until it ends; what the config changes in the run there."""
  lock.take(workdir)
  hardware.keep_programs(workdir / "compiled")
  if hosts.is_first():
    init_from.make(workdir, origin, config)
  changes = resume.claim(workdir, config, **resumed(workdir))
  if hosts.is_first() and (changed := configs.note_versions(workdir)):
    hosts.print_once(changed)
  if hosts.is_first():
    weights = config.lora.rank > 0 or algorithm.uses_reference
    begun = resume.has_begun(workdir)
    fingerprint.claim(workdir, config.model.path, begun=begun, weights=weights)
  return changes


def resumed(workdir):
  """What may change in a run that goes on; its model may lie elsewhere if its content is known."""
  return dict(amend=_AMEND.value, model_moves=(workdir / fingerprint.FILE).exists())


def make_checkpointer(workdir, every, **kept):
  """Keeps what config.checkpoint says; when to save is another matter."""
  del every
  orbax_logs.silence()
  return Checkpointer(str(workdir / "checkpoints"), **kept)


def saves(config, step):
  """Whether there is a checkpoint after a step; the best can only be one that was evaluated."""
  due = step == config.num_steps or step % config.checkpoint.every == 0
  return due or (config.checkpoint.best > 0 and play.evaluates(config, step))


def restore(checkpointer, run):
  """Gives the run the newest checkpoint's state; its step, or 0 where there is none."""
  restored = checkpointer.restore(run.template(), run.fit)
  if restored is None:
    return 0
  hosts.print_once(f"going on from the checkpoint of step {restored.step}")
  run.restore(restored.state)
  return restored.step


def go_on(workdir, config, changes, done):
  """Notes what the steps after `done` have new."""
  resume.check_done(workdir, config, done)
  for change in changes:
    hosts.print_once(
      f"from step {done + 1} on config.{change.key} is {change.new!r}, not {change.old!r}"
    )
  if hosts.is_first():
    resume.record(workdir, config, changes, done)


def update_again(run, batch):
  """Prints what the update says of a batch."""
  updated = run.update(batch)
  for name in sorted(updated):
    hosts.print_once(f"{name} {float(updated[name]):z.7g}")


@contextlib.contextmanager
def open_writer(config, workdir, first_step):
  """What takes the rows from `first_step` on; the first host alone writes and shows them."""
  check_rows(workdir, first_step - 1)
  alone = hosts.is_first()
  shown = dict(tensorboard=_TENSORBOARD.value and alone, wandb=_WANDB.value if alone else None)
  with (
    trackers.watchers(workdir, config.to_dict(), first_step, **shown) as watchers,
    metrics.MetricsWriter(workdir, first_step, keep=alone, watchers=watchers) as writer,
  ):
    yield writer


def check_rows(workdir, done):
  """Raises ValueError if the metrics end before the checkpoint that the run goes on from."""
  if done and done not in (row["step"] for row in metrics.read_rows(workdir)):
    raise ValueError(
      f"{workdir / metrics.FILE} has no row of step {done}, of which the checkpoint is: put the"
      " file back as it was, or choose another --workdir to begin anew."
    )


def compiled():
  """How many programs were compiled in this process."""
  return {"compile/count": sum(f._cache_size() for f in (train_step, read, write))}


if __name__ == "__main__":
  hardware.prepare()
  command_line.run(main)
