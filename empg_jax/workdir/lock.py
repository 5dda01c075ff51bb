"""One run at a time in a workdir: the holder of WORKDIR/lock.

The lock is an flock, which the system releases when a process ends in any way. Some file systems
do not share it between hosts, and a bucket has none (lock_object.py), so the file also names the
holder, which increments a counter in it: a lock left by another machine, or in a bucket, is free
when the counter has not moved for a while.
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
from empg_jax.io import json_text, paths
from empg_jax.workdir.lock_object import LockObject

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

  def __init__(self, workdir: paths.Path, kept: "_LockFile | LockObject"):
    self._workdir, self._kept = workdir, kept
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
    self._kept.release()
    atexit.unregister(self.release)

  def _go_on_counting(self) -> None:
    count = 0
    while not self._over.wait(_BEAT_S):
      with contextlib.suppress(OSError):  # a full disk is reported elsewhere
        there = self._kept.read()
        if there and any(there.get(key) != x for key, x in self._record.items()):
          # Suspended for so long, say by a sleeping machine, that another run took the lock.
          print(f"error: {_in_use(self._workdir, there)}", file=sys.stderr, flush=True)
          os._exit(1)
        count += 1
        self._count(count)

  def _count(self, count: int) -> None:
    line = json_text.dumps(self._record | {"count": count}).ljust(_SIZE - 1) + "\n"
    self._kept.write(line)


class _LockFile:
  """The lock file of a workdir on a disk, held with flock where the disk supports it."""

  def __init__(self, file: paths.Path):
    """Raises OSError if it cannot be opened, or another process holds it."""
    self._file = file
    self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
      self.certain = _flock(self._descriptor)
    except OSError:
      self.close()
      raise

  def read(self) -> dict[str, Any]:
    """The holder's record; empty if there is none or it is being written."""
    return _read(self._file)

  def write(self, line: str) -> None:
    os.pwrite(self._descriptor, line.encode(), 0)
    os.fsync(self._descriptor)

  def release(self) -> None:
    with contextlib.suppress(OSError):
      os.ftruncate(self._descriptor, 0)
    self.close()

  def close(self) -> None:
    os.close(self._descriptor)


def take(workdir: str | os.PathLike) -> Lock | None:
  """Takes the lock of a workdir in the run's first process; all processes call it.

  Creates the folder if needed, for its user only. Returns None in the other processes.

  Raises:
    ValueError: another run holds the lock, or the folder cannot be used.
  """
  lock = refusal = None
  if hosts.is_first():
    try:
      lock = _take(paths.of(workdir))
    except ValueError as error:
      refusal = error
  if hosts.gather(np.asarray([refusal is not None], np.int32)).any():
    raise refusal or ValueError(f"the first process of the run cannot use {workdir}")
  return lock


def _take(workdir: paths.Path) -> Lock:
  file = workdir / FILE
  try:
    paths.make_folder(workdir, 0o700)
    kept = LockObject(file) if paths.in_bucket(file) else _LockFile(file)
    try:
      there = kept.read()
      if there and not _has_ended(workdir, kept, there):
        raise BlockingIOError
      return Lock(workdir, kept)
    except OSError:
      kept.close()
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


def _has_ended(workdir: paths.Path, kept: _LockFile | LockObject, there: dict[str, Any]) -> bool:
  """Whether the holder named in the file has ended without releasing the lock."""
  if kept.certain and there.get("boot") == _machine()["boot"]:
    return True
  console.warn(
    f"{workdir} was left by {_named(there)}: waiting {_SILENCE_S:g} s for a sign of life"
  )
  deadline = time.monotonic() + _SILENCE_S
  while time.monotonic() < deadline:
    time.sleep(_LOOK_S)
    now = kept.read()
    if now != there:
      return not now
  return True


def _read(file: paths.Path) -> dict[str, Any]:
  """The holder's record; empty if there is none or it is being written."""
  try:
    found = json.loads(file.read_bytes())
  except (OSError, ValueError, RecursionError):
    return {}
  return found if isinstance(found, dict) else {}


def _machine() -> dict[str, str]:
  boot = _BOOT.read_text().strip() if _BOOT.exists() else ""
  return {"host": socket.gethostname(), "boot": boot}


def _in_use(workdir: paths.Path, there: dict[str, Any]) -> str:
  return (
    f"{workdir} is in use by {_named(there)}: wait until it ends, stop it, or choose another"
    " --workdir."
  )


def _named(there: dict[str, Any]) -> str:
  if not there:
    return "another process"
  return f"process {there.get('pid')} on {there.get('host')}, which began at {there.get('since')}"
