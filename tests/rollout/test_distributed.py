"""Two hosts play a share each, and know and learn what one host would that plays all."""

import collections
import os
import pathlib
import socket
import subprocess
import sys

from flax import serialization
import jax
import numpy as np
import pytest
import two_hosts

from empg_jax.rollout import shares

pytestmark = pytest.mark.slow
ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def alone():
  """What one process with four devices knows."""
  return two_hosts.known(two_hosts.make_mesh(jax.devices()))


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
  """What either of two processes with two devices knows."""
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{free.getsockname()[1]}"
  paths = [tmp_path_factory.mktemp("hosts") / str(number) for number in range(2)]
  processes = [
    subprocess.Popen(
      [sys.executable, two_hosts.__file__, address, str(number), str(path)],
      cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
      stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    for number, path in enumerate(paths)
  ]  # fmt: skip
  try:
    for process in processes:
      _, err = process.communicate(timeout=900)
      assert process.returncode == 0, err
  finally:
    for process in processes:
      process.kill()
  return [serialization.msgpack_restore(path.read_bytes()) for path in paths]


@pytest.mark.parametrize("played", ["uneven", "groups"])
def test_distributed_hosts_sample_the_very_ids_that_one_host_does(hosts, alone, played):
  assert hosts[0][played] == hosts[1][played]
  mine, theirs = (shares.from_bytes(x[played]) for x in (alone, hosts[0]))
  assert len(mine) == 12
  for one, other in zip(mine, theirs, strict=True):
    assert (one.task, one.group, one.index, one.ended, one.reward, one.info) == (
      other.task, other.group, other.index, other.ended, other.reward, other.info
    )  # fmt: skip
    for turn, same in zip(one.turns, other.turns, strict=True):
      assert (turn.context, turn.observation, turn.text) == (
        same.context, same.observation, same.text
      )  # fmt: skip
      np.testing.assert_array_equal(turn.reply, same.reply)
      np.testing.assert_allclose(turn.logprobs, same.logprobs, atol=1e-5)
      np.testing.assert_allclose(turn.entropy, same.entropy, atol=1e-5)


def test_distributed_hosts_begin_only_the_episodes_of_their_share(hosts, alone):
  assert len(alone["groups_resets"]) == 12
  assert [len(host["groups_resets"]) for host in hosts] == [6, 6]
  # Of each group either host plays two.
  assert all(collections.Counter(h["groups_resets"]) == dict.fromkeys("123", 2) for h in hosts)


def test_distributed_hosts_end_together_however_unevenly_they_play(hosts):
  first, second = (host["uneven_resets"] for host in hosts)
  assert first == ["1"] * 6 and sorted(second) == ["1", "5", "6", "6", "7", "trap"]
  turns = [len(episode.turns) for episode in shares.from_bytes(hosts[0]["uneven"])]
  assert turns == [1, 6, 5, 1, 1, 0, 6, 1, 1, 7, 1, 1]


def test_distributed_hosts_all_see_what_befell_one(hosts):
  for host in hosts:
    aborted = [e for e in shares.from_bytes(host["uneven"]) if e.ended == "aborted"]
    assert [(e.task, e.info["fault"]) for e in aborted] == [("trap", "error")]
    assert aborted[0].info["error"] == "KeyError: 'a trap'"


def test_distributed_hosts_update_as_one_host_does(hosts, alone):
  for host in hosts:
    for name, x in alone["parameters"].items():
      np.testing.assert_allclose(host["parameters"][name], x, atol=1e-5)
    assert host["metrics"].keys() == alone["metrics"].keys()
    for name, x in alone["metrics"].items():
      np.testing.assert_allclose(host["metrics"][name], x, rtol=1e-4, atol=1e-5, err_msg=name)
  start = two_hosts.make_model(two_hosts.make_mesh(jax.devices()))
  pairs = zip(jax.tree.leaves(start), alone["parameters"].values(), strict=True)
  assert max(np.abs(x - y).max() for x, y in pairs) > 1e-3
