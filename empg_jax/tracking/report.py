"""What a run of training prints as it goes, once for all hosts."""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import os
import pathlib
import shlex
import sys
import threading
import time
from typing import Any

import jax
import ml_collections

import empg_jax
from empg_jax import console
from empg_jax.config import config as configs
from empg_jax.distributed import hosts
from empg_jax.io import paths, words
from empg_jax.types import Batch, Episode

_COMPILE = "/jax/compilation_cache/compile_requests_use_cache"
_FOUND = "/jax/compilation_cache/cache_hits"
_COMPILED = "/jax/core/compile/backend_compile_duration"
_LOADING_S = 5.0  # in which a program that was compiled before is loaded


def throughput(
  episodes: Sequence[Episode], rows: Batch, *, rollout_s: float, update_s: float
) -> dict[str, float]:
  """The seconds of both phases, and the tokens sampled and trained on in each of them."""
  sampled = sum(len(turn.reply) for episode in episodes for turn in episode.turns)
  return {
    "time/rollout_s": rollout_s,
    "time/update_s": update_s,
    "time/tokens_per_s": sampled / rollout_s,
    "time/trained_tokens_per_s": (rows.tokens != 0).sum() / update_s,
  }


@contextlib.contextmanager
def compiling(what: str) -> Iterator[None]:
  """In `with`, prints once that `what` is compiling, unless its programs are already compiled."""
  line = f"  compiling {what}, once in this workdir (about a minute)"
  timers: dict[int, threading.Timer] = {}  # by thread, of the program that it compiles or loads
  found: set[int] = set()  # the threads that load theirs
  spent = 0.0  # seconds in which programs were compiled
  announced = threading.Event()

  def announce() -> None:
    if hosts.is_first() and not announced.is_set():
      announced.set()
      console.say(line)

  def begins(event: str, **_: Any) -> None:
    thread = threading.get_ident()
    if event == _COMPILE:
      timers[thread] = timer = threading.Timer(max(_LOADING_S - spent, 0.0), announce)
      timer.daemon = True
      timer.start()
    if event == _FOUND:
      found.add(thread)

  def ends(event: str, seconds: float, **_: Any) -> None:
    nonlocal spent
    thread = threading.get_ident()
    if event == _COMPILED and (timer := timers.pop(thread, None)):
      timer.cancel()
      spent += 0.0 if thread in found else seconds
      found.discard(thread)

  jax.monitoring.register_event_listener(begins)
  jax.monitoring.register_event_duration_secs_listener(ends)
  try:
    yield
  finally:
    jax.monitoring.unregister_event_listener(begins)
    jax.monitoring.unregister_event_duration_listener(ends)
    for timer in timers.values():
      timer.cancel()


def notes(lines: Sequence[str]) -> None:
  """Prints what calls for a look, under the line of the step before."""
  for line in lines:
    hosts.print_once(f"  {line}")


class Report:
  """What a run prints of its steps: a heading and a line each, and what came of it at the end."""

  def __init__(self, config: ml_collections.ConfigDict, workdir: paths.Path):
    leaves = configs.leaves(config.algorithm)
    with_kl = any(key.endswith("kl_coef") and value for key, value in leaves)
    self._config, self._workdir = config, workdir
    self._lines = console.StepLines(config.num_steps, with_kl=with_kl)
    self._first: tuple[int, float] | None = None  # the first step printed, and when

  def row(self, finished: Mapping[str, Any]) -> None:
    """Prints a finished row of the metrics, and the evaluation in it if there is one."""
    step = finished["step"]
    if step:
      if self._first is None:
        hosts.print_once(self._lines.heading)
      hosts.print_once(self._lines.line(finished, self._left(step)))
      notes(console.warnings(finished))
    shown = [
      f"{split} {console.shown(finished[f'eval/{split}/success'], '{:.1%}'.format)}"
      f" (score {console.shown(finished[f'eval/{split}/score'], '{:z.3f}'.format)})"
      for split in self._config.evaluation.splits
      if f"eval/{split}/success" in finished
    ]
    if shown:
      notes([f"success after step {step}: " + ", ".join(shown)])

  def gain(self, rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints success before and after training, and the commands that show more of the run."""
    splits = self._config.evaluation.splits
    evaluated = [row for row in rows if f"eval/{splits[0]}/success" in row]
    before, after = evaluated[0], evaluated[-1]
    hosts.print_once(console.success_table(before, after, splits))
    hosts.print_once(console.gains(before, after, splits))
    folder = f"--workdir={shlex.quote(str(self._workdir))}"
    hosts.print_once(f"read the episodes: {_command('pages')} {folder}")
    hosts.print_once(f"draw the curves: {_command('plot')} {folder} --out=plots")

  def _left(self, step: int) -> float | None:
    """Seconds until the last step, by the steps that this process has printed; None: too early.

    The first one's time is left out, for it compiles.
    """
    now = time.monotonic()
    if self._first is None:
      self._first = step, now
    first, then = self._first
    remaining = self._config.num_steps - step
    if not remaining:
      return 0.0
    if step == first or step < console.EARLIEST * self._config.num_steps:
      return None
    return (now - then) / (step - first) * remaining


def opening(config: ml_collections.ConfigDict, workdir: paths.Path, preset: str) -> Report:
  """Prints what is trained, how, where, and into which folder; returns what prints the rest."""
  devices = words.count(jax.device_count(), "device")
  hosts.print_once(f"empg_jax {empg_jax.__version__}: {preset}, {configs.method(config.algorithm)}")
  hosts.print_once(
    f"  {config.model.path} on {devices} ({jax.devices()[0].device_kind}), in {workdir}"
  )
  return Report(config, workdir)


def _command(script: str) -> str:
  """How the user who started this command starts another one."""
  started = pathlib.Path(sys.argv[0])
  if started.parent.parent.name == "empg_jax":  # commands.main runs it there
    return f"empg {script}"
  python = os.path.relpath(sys.executable)
  python = "python" if python.startswith("..") else python
  return f"{python} {shlex.quote(str(started.with_name(f'{script}.py')))}"
