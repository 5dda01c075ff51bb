"""Checks new hardware: does every part of a run once, and compares planned with measured figures.

Only compiled programs stay in the workdir, for the run to load; the folder `check` there is
removed at the end.
"""

from collections.abc import Iterator, Mapping
import contextlib
import dataclasses
import time
from typing import NamedTuple
import zlib

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import psutil

from empg_jax.checkpoint import Checkpointer
from empg_jax.distributed import hosts
from empg_jax.io import paths, words
from empg_jax.kernels import hardware
from empg_jax.loop import Run
from empg_jax.plan import chips, memory, planner, programs, shapes
from empg_jax.plan.compiling import GIB, Report
from empg_jax.training.state import TrainState
from empg_jax.types import Batch

_PROBE = 2**24  # bytes that each host writes
_PATIENCE_S = 20  # within which a host must see what another host wrote
_COLUMNS = 27, 25  # widths of a row's name and planned figure


class Row(NamedTuple):
  """One part of a run, with its planned and measured figures."""

  what: str
  planned: str
  measured: str

  def __str__(self) -> str:
    what, planned = (text.ljust(width) for text, width in zip(self, _COLUMNS))
    return f"{what} {planned} {self.measured}".rstrip()


def rows(run: Run, workdir: paths.Path) -> Iterator[Row]:
  """Does every part of a run once and yields a row for each.

  All processes of the run call it.

  Raises:
    ValueError: a part fails or does not fit; the message says which and why.
  """
  folder = workdir / "check"
  try:
    yield from _rows(run, folder)
    hosts.gather(np.zeros(1, np.int32))  # all are done with it
  finally:
    if hosts.is_first():
      paths.remove(folder)


def _rows(run: Run, folder: paths.Path) -> Iterator[Row]:
  yield Row("", "planned", "measured")
  yield _devices(run)
  yield _disk(folder)
  planned = _planner(run)
  items = planned.items(run.config)
  yield _load(run, items)
  reports: dict[str, Report] = {}
  for name in _programs():
    reports[name] = planned.measure(name, run.config, quick=False)
    yield _compiled(reports[name])
  counts = dict.fromkeys(reports, 1) | programs.count(run.config, hardware.current())
  yield Row("programs of the run", f"at most {sum(counts.values())}", "the largest are compiled")
  rows, row = _play(run)
  yield row
  yield _first_update(run, rows)
  yield _update(run, rows, reports["train"], planned.chip)
  yield _memory(items, reports, planned.chip)
  yield from _checkpoint(run, folder)
  planned.check(run.config, reports)


def _devices(run: Run) -> Row:
  mesh = ", ".join(f"{name} {size}" for name, size in run.mesh.shape.items())
  count = words.count(jax.process_count(), "host")
  return Row("devices", mesh, f"{count}, {jax.device_count()} x {jax.devices()[0].device_kind}")


def _disk(folder: paths.Path) -> Row:
  """Each host writes a file and reads those of all hosts."""
  begun, me = time.monotonic(), hosts.process_index()
  content = np.random.default_rng(me).bytes(_PROBE)
  paths.make_folder(folder)
  file = folder / f"host{me}"
  paths.write(file, content)
  sums = hosts.gather(np.asarray([_sum(content)], np.int32))[:, 0]
  for other, wanted in enumerate(sums):
    if _sum(_seen(folder / f"host{other}")) != wanted:
      raise ValueError(
        f"host {me} does not see in {folder} what host {other} wrote there: --workdir must be on"
        " a disk or in a bucket that all hosts share."
      )
  hosts.gather(np.zeros(1, np.int32))  # all have read
  file.unlink()
  took = time.monotonic() - begun
  each = f"{_PROBE // 2**20} MiB a host, seen by all" if len(sums) > 1 else "16 MiB, read again"
  return Row("workdir", "", f"{each}: {took:.1f} s")


def _seen(file: paths.Path) -> bytes:
  """A file's content, once it appears; empty if it does not."""
  deadline = time.monotonic() + _PATIENCE_S
  while time.monotonic() < deadline:
    with contextlib.suppress(FileNotFoundError):
      return file.read_bytes()
    time.sleep(1)
  return b""


def _sum(content: bytes) -> np.int32:
  return np.uint32(zlib.crc32(content)).view(np.int32)


def _planner(run: Run) -> planner.Planner:
  device = jax.local_devices()[0]
  there = (device.memory_stats() or {}).get("bytes_limit", psutil.virtual_memory().total)
  chip = chips.of_device(device.device_kind, there)
  return planner.Planner(shapes.of(run.config.model.path, ""), run.mesh, chip)


def _programs() -> tuple[str, ...]:
  """The programs to plan; where each device samples on its own, plans of a mesh do not apply."""
  whole = hardware.current().whole_mesh or hosts.is_multiprocess()
  return memory.PROGRAMS if whole else ("train",)


def _load(run: Run, items: list[memory.Item]) -> Row:
  begun = time.monotonic()
  state = jax.block_until_ready(run.load())
  took = time.monotonic() - begun
  kept = [item for item in items if "train" in item.inside and set(item.lives) > {"train"}]
  return Row(
    "parameters and moments",
    f"{sum(item.device for item in kept) / GIB:.2f} GiB a device",
    f"{_on_device(state) / GIB:.2f} GiB, {took:.0f} s",
  )


def _on_device(tree) -> int:
  """Bytes on one device."""
  return sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(tree))


def _compiled(report: Report) -> Row:
  planned = f"{report.peak:.2f} GiB at the peak"
  return Row(f"compile the {report.name}", planned, f"{report.compile_s:.0f} s")


def _play(run: Run) -> tuple[Batch, Row]:
  """Plays one group of episodes; returns it as the rows of a whole step."""
  begun, whole = time.monotonic(), run.config
  run.config = ml_collections.ConfigDict(whole)
  with run.config.unlocked():
    run.config.rollout = ml_collections.ConfigDict(
      whole.rollout.to_dict() | dict(tasks=1, max_rounds=0)
    )
  try:
    groups = run.collect(1)
  finally:
    run.config = whole
  took = time.monotonic() - begun
  played = [episode for episode in groups.played if episode.ended != "aborted"]
  turns = sum(len(episode.turns) for episode in played)
  _, rows = run.pack(groups)
  count = words.count(len(played), "episode")
  return rows, Row("play a group", "", f"{count}, {words.count(turns, 'turn')}: {took:.0f} s")


def _first_update(run: Run, rows: Batch) -> Row:
  begun = time.monotonic()
  loss = float(run.update(rows)["loss/total"])
  return Row("update on it", "", f"loss {loss:z.4f}: {time.monotonic() - begun:.0f} s")


def _update(run: Run, rows: Batch, report: Report, chip: chips.Chip) -> Row:
  """The update of a step with full rows, and the handover of the new policy."""
  full = _full(rows, max(run.config.pack.lengths))
  if full.tokens.shape != rows.tokens.shape:  # another program
    run.update(full)
  begun = time.monotonic()
  run.update(full)
  took = time.monotonic() - begun
  mfu = report.model_flops / took / chip.flops
  return Row(
    f"update of {full.tokens.size:,} tokens",
    f"{report.step_s:.3g} s, MFU {report.mfu(chip):.0%}" if report.step_s else "",
    f"{took:.3g} s" + (f", MFU {mfu:.0%}" if mfu else ""),
  )


def _full(rows: Batch, length: int) -> Batch:
  """As many rows of `length` tokens without padding, repeating the first row's turns."""
  count, first = len(rows.tokens), int(np.argmax((rows.steps > 0).any(axis=1)))
  seen = int(np.flatnonzero(rows.steps[first])[-1]) + 1
  again = lambda x: np.resize(x[first, :seen], (count, length)) if np.ndim(x) == 2 else x
  rows = jax.tree.map(again, rows)
  round_ = np.arange(length, dtype=np.int32) // seen
  numbers = np.arange(count, dtype=np.int32)
  return dataclasses.replace(
    rows,
    steps=np.where(rows.steps, rows.steps + round_ * rows.steps.max(), 0),
    returns=(numbers % 2).astype(np.float32),
    group_ids=numbers // 2,
    episode_ids=numbers,
  )


def _memory(items, reports: Mapping[str, Report], chip: chips.Chip) -> Row:
  planned = max(memory.needs(items, name, r.peak_bytes) for name, r in reports.items()) / GIB
  used = [(x.memory_stats() or {}).get("peak_bytes_in_use", 0) for x in jax.local_devices()]
  most = hosts.gather(np.asarray([max(used) // 2**20], np.int32)).max() / 2**10
  return Row(
    "memory of a device at most",
    f"{planned:.2f} of {chip.memory:.2f} GiB",
    f"{most:.2f} GiB" if most else "not reported",
  )


def _checkpoint(run: Run, folder: paths.Path) -> Iterator[Row]:
  run.policy.release()
  checkpointer = Checkpointer(str(folder / "checkpoints"), keep=1)
  begun = time.monotonic()
  checkpointer.save(1, run.state)
  checkpointer.wait()
  took, size = time.monotonic() - begun, sum(x.nbytes for x in jax.tree.leaves(run.state))
  yield Row("save a checkpoint", f"{size / GIB:.2f} GiB", f"{took:.0f} s")
  begun = time.monotonic()
  restored = checkpointer.restore(run.state)
  took = time.monotonic() - begun
  checkpointer.close()
  with jax.set_mesh(run.mesh):
    equal = _same(restored.state, run.state)
  if not equal:
    raise ValueError(f"{folder} restores another state than was saved there: its disk is damaged.")
  yield Row("restore it", "the same, bit for bit", f"{took:.0f} s")


@jax.jit
def _same(a: TrainState, b: TrainState) -> jax.Array:
  return jnp.all(jnp.stack(jax.tree.leaves(jax.tree.map(jnp.array_equal, a, b))))
