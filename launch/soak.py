"""Trains with and without injected faults, and compares the results bit for bit.

  python launch/soak.py --steps=200 [--faults=40] [--seed=0] [--workdir=runs/soak]

The runs are of launch/train.py with a policy of one layer and a few short episodes a step, in
WORKDIR/straight and WORKDIR/disturbed. The second is killed, also while it saves, stopped with
SIGTERM, and restarted; its workers are killed and suspended; its newest checkpoint is truncated.
The script prints the faults and their cost. It ends with exit code 1 if there is a difference that
no lost episode explains.

A worker that is killed between two calls costs nothing; during a call, it costs the episode of
that call. A suspended worker costs an episode if it gets a call. The metrics train/aborted_...
count lost episodes; from their step on the runs may differ.
"""

import collections
import re
import shutil
import time

from absl import flags
import numpy as np

from empg_jax.cli import command_line
from empg_jax.io import paths, words
from empg_jax.soak import compare, faults, runs
from empg_jax.tracking import metrics

_STEPS = flags.DEFINE_integer("steps", 200, "steps of training", lower_bound=1)
_FAULTS = flags.DEFINE_integer("faults", 0, "how many; 0: one for every five steps", lower_bound=0)
_KINDS = flags.DEFINE_multi_enum("kind", None, list(faults.KINDS), "kinds of faults; default: all")
_SEED = flags.DEFINE_integer("seed", 0, "of the faults and their times")
_WORKDIR = command_line.define_path("workdir", "runs/soak", "folder of both runs; emptied first")


def main(_):
  home = paths.on_disk(_WORKDIR.value, "--workdir")
  straight, disturbed = home / "straight", home / "disturbed"
  if home.exists() and not (home / "model").is_dir() and any(home.iterdir()):
    raise ValueError(f"{home} holds something else than a soak: choose another --workdir.")
  shutil.rmtree(home, ignore_errors=True)
  runs.write_model(home / "model")
  begun = time.monotonic()
  train(straight, home)
  took = time.monotonic() - begun
  print(f"undisturbed: {words.count(_STEPS.value, 'step')} in {took:.0f} s", flush=True)
  begun = time.monotonic()
  done, starts = disturb(disturbed, home)
  report(done, starts, time.monotonic() - begun, log_of(disturbed).read_text())
  if not same(straight, disturbed):
    raise SystemExit(1)


def train(workdir, home):
  """Runs the training once, to its end."""
  run = runs.start(runs.command(workdir, home / "model", _STEPS.value), log_of(workdir))
  if run.wait():
    raise RuntimeError(f"a run without a fault failed: see {log_of(workdir)}")


def disturb(workdir, home):
  """Trains with faults; returns how many of each kind there were, and the number of starts."""
  rng = np.random.default_rng(_SEED.value)
  planned = plan(rng)
  command = runs.command(workdir, home / "model", _STEPS.value)
  done, starts, run, finished = collections.Counter(), 0, None, False
  while not finished:
    if run is None or run.poll() is not None:
      run, starts = runs.start(command, log_of(workdir)), starts + 1
    if not planned:
      run.wait()
    else:
      after, kind = planned.pop(0)
      faults.wait_until(lambda: steps_done(workdir) >= after or run.poll() is not None)
      time.sleep(rng.uniform(0, seconds_a_step(workdir)))
      if run.poll() is None:
        faults.KINDS[kind](run, workdir, rng)
        done[kind] += 1
        continue
      done["fault after the end of the run"] += 1 + len(planned)
    if run.returncode:
      raise RuntimeError(f"a run without a fault failed: see {log_of(workdir)}")
    finished = True
  return done, starts


def plan(rng):
  """Pairs of a step and the fault that follows it; every kind once before any repeats."""
  kinds = _KINDS.value or list(faults.KINDS)
  count = _FAULTS.value or max(1, _STEPS.value // 5)
  order = [kind for _ in range(-(-count // len(kinds))) for kind in rng.permutation(kinds)]
  return list(zip(sorted(rng.integers(0, _STEPS.value, count).tolist()), order))


def report(done, starts, seconds, log):
  """Prints the faults and what they cost."""
  trained = words.count(_STEPS.value, "step")
  print(f"disturbed: {trained} in {seconds:.0f} s, {words.count(starts, 'start')}")
  for kind, count in sorted(done.items()):
    print(f"  {count:3} x {kind}")
  shown = [int(step) for step in re.findall(r"^step +(\d+)/", log, re.MULTILINE)]
  print(f"  {words.count(len(shown) - len(set(shown)), 'step')} repeated")
  damaged = len(re.findall(r"/checkpoints/\d+ is damaged", log))
  print(f"  {words.count(damaged, 'damaged checkpoint')} reported and replaced by the one before")


def same(straight, disturbed):
  """Prints whether the runs are equal; returns False if there is an unexplained difference."""
  lost = compare.lost(disturbed)
  for step, episodes in lost.items():
    counts = ", ".join(f"{count:g} {name}" for name, count in episodes.items())
    print(f"  episodes lost in step {step}: {counts}")
  found = [row["step"] for row in metrics.read_rows(disturbed)]
  if found != list(range(_STEPS.value + 1)):
    print(f"NOT THE SAME: the rows of the metrics are of steps {found}")
    return False
  rows, leaves = compare.rows(straight, disturbed), compare.states(straight, disturbed)
  first = min(lost, default=_STEPS.value + 1)
  files = [name for name in compare.played(straight, disturbed) if int(name[5:11]) < first]
  if not rows and not leaves and not files:
    print("the same: parameters, optimizer state, metrics and episodes, bit for bit")
    return True
  since = min(rows, default="-")
  differ = f"metrics from step {since} on, {words.count(len(leaves), 'leaf', 'leaves')}"
  differ += f" and {words.count(len(files), 'file')} of episodes"
  if lost and min(rows, default=first) >= first and not files:
    print(f"the same up to step {first}, which lost an episode; then {differ} differ")
    return True
  print(f"NOT THE SAME: {differ} differ")
  return False


def log_of(workdir):
  return workdir.with_suffix(".log")


def steps_done(workdir):
  """The newest step in the metrics, -1 before there is one."""
  return max((row["step"] for row in metrics.read_rows(workdir)), default=-1)


def seconds_a_step(workdir):
  """Of the newest step; 0 before there is one."""
  rows = metrics.read_rows(workdir)
  last = rows[-1] if rows else {}
  return last.get("time/rollout_s", 0.0) + last.get("time/update_s", 0.0)


if __name__ == "__main__":
  command_line.run(main)
