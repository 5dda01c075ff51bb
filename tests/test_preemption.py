"""A run that is asked to stop notices at its next turn, on all hosts together."""

import os
import pathlib
import signal
import socket
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow
ROOT = pathlib.Path(__file__).resolve().parents[1]

INTERRUPTED = """
import time
from empg_jax.distributed import preemption
with preemption.listening() as asked:
  print("listening", flush=True)
  while not asked():
    time.sleep(0.01)
  print("asked", flush=True)
  THEN
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_preemption_is_noticed_and_a_second_interrupt_ends_at_once(number):
  for then, code in (("pass", 0), ("time.sleep(1000)", 130)):
    run = subprocess.Popen(
      [sys.executable, "-c", INTERRUPTED.replace("THEN", then)], text=True,
      stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert run.stdout.readline() == "listening\n"
    run.send_signal(number)
    assert run.stdout.readline() == "asked\n"
    if code:
      run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=300)
    assert run.returncode == code, err
    assert f"asked to stop ({number.name})" in err


SEVERAL = """
import time
import numpy as np
from empg_jax.distributed import hosts, preemption
hosts.join()
with preemption.listening() as asked:
  print("listening", flush=True)
  turn = 0
  while not hosts.gather(np.asarray([asked()], np.int32)).any():
    turn += 1
    time.sleep(0.05)
print("stopped at", turn, flush=True)
"""


def test_preemption_of_one_host_stops_all_at_the_same_turn():
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{free.getsockname()[1]}"
  processes = []
  for number in "01":
    names = dict(JAX_COORDINATOR_ADDRESS=address, JAX_NUM_PROCESSES="2", JAX_PROCESS_ID=number)
    processes.append(
      subprocess.Popen(
        [sys.executable, "-c", SEVERAL], cwd=ROOT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT), **names},
      )
    )  # fmt: skip
  for process in processes:
    while process.stdout.readline() != "listening\n":
      assert process.poll() is None
  processes[1].terminate()
  outputs = [process.communicate(timeout=300)[0].splitlines()[-1] for process in processes]
  assert outputs[0].startswith("stopped at") and outputs[0] == outputs[1]
  assert [process.returncode for process in processes] == [0, 0]
