"""Environments in worker processes: a fault costs its own episode, and nothing is left behind."""

import contextlib
import functools
import os
import pathlib
import signal
import subprocess
import sys
import time

import faulty
import psutil
import pytest

from empg_jax import workers
from empg_jax.envs import FAULTS, Fault, Remote, alfworld

HERE = pathlib.Path(__file__).parent
pool = functools.partial(workers.environments, "faulty", {}, count=1, timeout_s=60.0)


def mates(make_env, count=3):
  """Environments, each some steps into an episode."""
  envs = [make_env() for _ in range(count)]
  for number, env in enumerate(envs):
    env.reset(f"task {number}")
    for step in range(1, 2 + number):
      assert env.step("go").observation == f"go: {step}"
  return envs


def check_going_on(envs):
  """They are where `mates` left them."""
  for number, env in enumerate(envs):
    if env is not None:
      assert env.step("on").observation == f"on: {2 + number}"


def pid(env):
  """Of the worker; changes nothing that was played."""
  env.reset("pid")
  return int(env.step("pid").observation.removeprefix("pid: "))


def gone(number, wait_s=30):
  """Whether a process and all its threads end before long; init may be slow to bury it."""
  for _ in range(10 * wait_s):
    with contextlib.suppress(psutil.NoSuchProcess):
      process = psutil.Process(number)
      if process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1:
        time.sleep(0.1)
        continue
    return True
  return False


def test_what_is_played_in_a_worker_is_what_is_played_here():
  task = alfworld.tasks("valid_seen")[3]
  here = alfworld.make(show_commands=True)
  options = {"show_commands": True}
  with workers.environments("empg_jax.envs.alfworld", options, count=2) as make_env:
    there = make_env()
    assert isinstance(there, Remote) and not isinstance(here, Remote)
    assert there.reset(task) == here.reset(task)
    for action in ["look", "go to fridge 1", "open fridge 1", "dance", "inventory"]:
      assert there.step(action) == here.step(action)


def test_without_workers_the_environments_live_here():
  with pool(count=0) as make_env:
    assert isinstance(make_env(), faulty.Faulty)


@pytest.mark.parametrize(
  "how, kind, words",
  [
    ("crash", "crash", "ended with exit code 3"),
    ("noise", "garbage", "Segmentation"),
    ("forge", "garbage", "all is well"),
    ("nested", "garbage", r"\[\[\["),
    ("surrogate", "garbage", "no text"),
    ("burst", "memory", "more than the 80 allowed"),
    ("raise", "error", "KeyError: 'a trap'"),
  ],
)
def test_a_fault_ends_its_episode_and_the_others_go_on(how, kind, words):
  with pool(memory_mib=80) as make_env:
    envs = mates(make_env)
    with pytest.raises(Fault, match=words) as caught:
      envs[1].step(how)
    assert caught.value.kind == kind and kind in FAULTS
    envs[1].close()
    check_going_on([envs[0], None, envs[2]])
    assert make_env().reset("again") == "again begins"


@pytest.mark.parametrize("how", ["hang", "hold"])
def test_a_worker_that_hangs_is_ended_in_time(how):
  with pool(timeout_s=2.0) as make_env:
    envs = mates(make_env)
    with pytest.raises(Fault, match="no answer for 2 seconds") as caught:
      envs[2].step(how)
    assert caught.value.kind == "hang"
    check_going_on(envs[:2])


def test_a_first_observation_that_is_no_text_is_garbage():
  with pool() as make_env:
    with pytest.raises(Fault, match="answered a reset by .*7") as caught:
      make_env().reset("number")
  assert caught.value.kind == "garbage"


def test_whoever_holds_the_memory_is_found_by_playing_again():
  with pool(memory_mib=80) as make_env:
    envs = mates(make_env)
    with contextlib.suppress(Fault):  # It may raise at once.
      envs[0].step("swell")
    envs[1].reset("rests")
    for step in range(1, 8):
      assert envs[1].step("rest").observation == f"rest: {step}"
    with pytest.raises(Fault) as caught:
      envs[0].step("go")
    assert caught.value.kind == "memory"
    check_going_on([None, None, envs[2]])


def test_an_episode_that_cannot_be_played_again_is_an_error_of_its_own():
  with pool() as make_env:
    envs = mates(make_env)
    pid(envs[0])  # which is another one in another worker
    with pytest.raises(Fault):
      envs[1].step("crash")
    with pytest.raises(Fault, match="played again after another's fault") as caught:
      envs[0].step("go")
    assert caught.value.kind == "error"
    check_going_on([None, None, envs[2]])


def test_a_worker_that_ends_between_two_calls_costs_nothing():
  with pool() as make_env:
    envs = mates(make_env)
    other = make_env()
    os.kill(number := pid(other), signal.SIGKILL)
    assert gone(number)
    assert other.reset("another") == "another begins"
    check_going_on(envs)


def test_a_worker_that_ends_before_it_reads_a_call_costs_nothing():
  with pool() as make_env:
    envs = mates(make_env)
    other = make_env()
    os.kill(number := pid(other), signal.SIGSTOP)
    while psutil.Process(number).status() != psutil.STATUS_STOPPED:
      time.sleep(0.01)
    envs[0].ask("step", "on")
    os.kill(number, signal.SIGKILL)
    check_going_on(envs)


def test_workers_work_at_the_same_time():
  with pool(count=4) as make_env:
    envs = mates(make_env, 8)
    for env in envs:
      env.ask("step", "rest")
    deadline = time.monotonic() + 60
    while any(env.answer is None for env in envs[1:]) and time.monotonic() < deadline:
      envs[0].step("rest")
    assert [env.step("rest").observation for env in envs[1:]] == [
      f"rest: {2 + number}" for number in range(1, 8)
    ]


def test_what_is_asked_and_not_wanted_any_more_does_no_harm():
  with pool() as make_env:
    first, second = mates(make_env, 2)
    first.ask("step", "go")
    second.ask("step", "print")
    first.close()
    assert second.step("print").observation == "print: 3"


def test_an_environment_that_cannot_be_made_is_reported_in_one_sentence():
  with pytest.raises(ValueError, match="No environment of faulty can .*there is no catalogue"):
    with workers.environments("faulty", {"missing": "catalogue"}, count=2):
      pass


def test_workers_load_no_jax():
  code = "import sys, empg_jax.workers.child, empg_jax.envs.alfworld; print(*sys.modules)"
  loaded = subprocess.run(
    [sys.executable, "-c", code], cwd=HERE.parents[1], capture_output=True, text=True, check=True
  ).stdout.split()
  assert not {"jax", "jaxlib", "jaxtyping", "numpy"} & set(loaded)


PARENT = """
import sys
from empg_jax import workers
with workers.environments("faulty", {}, count=2) as make_env:
  envs = [make_env() for _ in range(4)]
  for env in envs:
    env.reset("begin")
  said = [env.step(what).observation for what in ("pid", "start") for env in envs]
  print(*{text.split()[1] for text in said}, flush=True)
  envs[0].ask("step", "hold")
  envs[1].ask("step", "hang")
  HOW
  envs[0].step("hold")
"""


@pytest.mark.parametrize("how", ["kill", "sys.exit(1)", "1 / 0", "os._exit(0)"])
def test_no_worker_outlives_its_parent_nor_what_it_started(how):
  path = os.pathsep.join([str(HERE), str(HERE.parents[1])])
  parent = subprocess.Popen(
    [sys.executable, "-c", "import os" + PARENT.replace("HOW", "" if how == "kill" else how)],
    env={**os.environ, "PYTHONPATH": path},
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
  )
  numbers = list(map(int, parent.stdout.readline().split()))
  assert len(numbers) == 2 + 4
  if how == "kill":
    assert all(psutil.pid_exists(number) for number in numbers)
    parent.kill()
  parent.communicate(timeout=60)
  assert all(gone(number) for number in numbers)


def test_memory_is_steady():
  tasks = alfworld.tasks("train")[:4]
  with workers.environments("empg_jax.envs.alfworld", {}, count=1) as make_env:
    env, ours = make_env(), psutil.Process()
    (worker,) = (x for x in ours.children() if "empg_jax.workers.child" in x.cmdline())
    held = []
    for episode in range(120):
      env.reset(tasks[episode % 4])
      for _ in range(20):
        env.step("look")
      held.append(ours.memory_info().rss + worker.memory_info().rss)
  assert held[-1] - held[40] < 2**20  # 1,600 answers of about 2 KiB
