"""One run at a time in a workdir: the holder of WORKDIR/lock.

The lock is an flock, which the system releases when a process ends in any way. Some file systems
do not share it between hosts, so the file also names the holder, which increments a counter in
it: a lock left by another machine is free when the counter has not moved for a while.
"""

import atexit
import contextlib
import errno
import fcntl
import json
import os
import pathlib
import socket
import sys
import threading
import time
from typing import Any

import numpy as np

from empg_jax import console
from empg_jax.distributed import hosts
from empg_jax.io import json_text

FILE = "lock"
_BEAT_S = 5.0  # between two counts
_SILENCE_S = 20.0  # after which a holder on another machine counts as ended
_PATIENCE_S = 5.0  # for a process that is about to end
_LOOK_S = 0.2
_SIZE = 512  # bytes of the file: one line, written at once
_BOOT = pathlib.Path("/proc/sys/kernel/random/boot_id")  # of Linux, tells machines apart
# Errors of a file system without flock.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


class Lock:
  """Exclusive use of a workdir, from `take` to `release` or the end of the process."""

  def __init__(self, file: pathlib.Path, descriptor: int):
    self._file, self._descriptor = file, descriptor
    self._over = threading.Event()
    self._record = dict(_machine(), pid=os.getpid(), since=time.strftime("%Y-%m-%d %H:%M:%S %z"))
    self._count(0)
    self._counting = threading.Thread(target=self._go_on_counting, daemon=True)
    self._counting.start()
    atexit.register(self.release)

  def release(self) -> None:
    """Releases the workdir for other runs."""
    if self._over.is_set():
      return
    self._over.set()
    self._counting.join()
    with contextlib.suppress(OSError):
      os.ftruncate(self._descriptor, 0)
    os.close(self._descriptor)
    atexit.unregister(self.release)

  def _go_on_counting(self) -> None:
    count = 0
    while not self._over.wait(_BEAT_S):
      there = _read(self._file)
      if there and any(there.get(key) != x for key, x in self._record.items()):
        # Suspended for so long, say by a sleeping machine, that another run took the lock.
        print(f"error: {_in_use(self._file.parent, there)}", file=sys.stderr, flush=True)
        os._exit(1)
      count += 1
      with contextlib.suppress(OSError):  # a full disk is reported elsewhere
        self._count(count)

  def _count(self, count: int) -> None:
    line = json_text.dumps(self._record | {"count": count}).ljust(_SIZE - 1) + "\n"
    os.pwrite(self._descriptor, line.encode(), 0)
    os.fsync(self._descriptor)


def take(workdir: str | os.PathLike) -> Lock | None:
  """Takes the lock of a workdir in the run's first process; all processes call it.

  Creates the folder if needed, for its user only. Returns None in the other processes.

  Raises:
    ValueError: another run holds the lock, or the folder cannot be used.
  """
  lock = refusal = None
  if hosts.is_first():
    try:
      lock = _take(pathlib.Path(workdir))
    except ValueError as error:
      refusal = error
  if hosts.gather(np.asarray([refusal is not None], np.int32)).any():
    raise refusal or ValueError(f"the first process of the run cannot use {workdir}")
  return lock


def _take(workdir: pathlib.Path) -> Lock:
  file = workdir / FILE
  try:
    workdir.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
      certain = _flock(descriptor)
      there = _read(file)
      if there and not _has_ended(file, there, certain):
        raise BlockingIOError
      return Lock(file, descriptor)
    except OSError:
      os.close(descriptor)
      raise
  except BlockingIOError:
    raise ValueError(_in_use(workdir, _read(file))) from None
  except OSError as error:
    raise ValueError(f"the workdir {workdir} cannot be used: {error.strerror}") from error


def _flock(descriptor: int) -> bool:
  """Takes the flock; returns whether the file system has them. Raises BlockingIOError if held."""
  deadline = time.monotonic() + _PATIENCE_S
  while True:
    try:
      fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
      return True
    except BlockingIOError:
      if time.monotonic() > deadline:
        raise
    except OSError as error:
      if error.errno not in _NO_LOCKS:
        raise
      return False
    time.sleep(_LOOK_S)


def _has_ended(file: pathlib.Path, there: dict[str, Any], certain: bool) -> bool:
  """Whether the holder named in the file has ended without releasing the lock."""
  if certain and there.get("boot") == _machine()["boot"]:
    return True
  console.warn(
    f"{file.parent} was left by {_named(there)}: waiting {_SILENCE_S:g} s for a sign of life"
  )
  deadline = time.monotonic() + _SILENCE_S
  while time.monotonic() < deadline:
    time.sleep(_LOOK_S)
    now = _read(file)
    if now != there:
      return not now
  return True


def _read(file: pathlib.Path) -> dict[str, Any]:
  """The holder's record; empty if there is none or it is being written."""
  try:
    found = json.loads(file.read_bytes())
  except (OSError, ValueError, RecursionError):
    return {}
  return found if isinstance(found, dict) else {}


def _machine() -> dict[str, str]:
  boot = _BOOT.read_text().strip() if _BOOT.exists() else ""
  return {"host": socket.gethostname(), "boot": boot}


def _in_use(workdir: pathlib.Path, there: dict[str, Any]) -> str:
  return (
    f"{workdir} is in use by {_named(there)}: wait until it ends, stop it, or choose another"
    " --workdir."
  )


def _named(there: dict[str, Any]) -> str:
  if not there:
    return "another process"
  return f"process {there.get('pid')} on {there.get('host')}, which began at {there.get('since')}"
