"""Episodes are dealt out evenly to hosts, and come back from them as they were."""

import dataclasses

import numpy as np
import pytest

from empg_jax.distributed import hosts
from empg_jax.rollout import shares
from empg_jax.types import Episode, Turn


@pytest.mark.parametrize("count", [0, 1, 5, 24, 140])
@pytest.mark.parametrize("slots", [[4], [4, 4], [2, 4, 0], [1] * 16])
def test_distributed_episodes_are_each_played_by_one_host_that_has_room(count, slots):
  dealt = [shares.share(count, slots, host) for host in range(len(slots))]
  assert sorted(sum(dealt, [])) == list(range(count))
  rounds = -(-count // sum(slots))
  assert all(len(own) <= rounds * size for own, size in zip(dealt, slots))
  if len(set(slots)) == 1:
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


def test_distributed_groups_and_kinds_of_tasks_are_spread_over_hosts():
  own = np.array(shares.share(128, [64, 64], 1))
  assert set(np.bincount(own // 8)) == {4}
  assert min(np.bincount(own % 6)) >= 10  # six kinds in turn


def test_distributed_episodes_come_back_bit_for_bit(monkeypatch):
  said = np.array([np.nan, -0.0, 1e-45, -np.inf], np.float32)
  turn = Turn((1, 2**31 - 1), np.arange(4, dtype=np.int32), said, said, "é\0☃", "b", None, 0.1)
  info = {"won": True, "score": 1 / 3, "seen": ["a", {"b": None}], "count": np.float32(0.1)}
  first = Episode("t", 0, 1, (turn, turn), -0.1, False, "turns", info)
  second = dataclasses.replace(first, index=0, turns=(), ended="aborted")
  monkeypatch.setattr(hosts, "is_multiprocess", lambda: True)
  monkeypatch.setattr(hosts, "gather_bytes", lambda message: [message, shares.to_bytes([second])])
  back = shares.gather([first])
  assert [episode.index for episode in back] == [0, 1] and back[0] == second
  assert vars(back[1]) | dict(turns=()) == vars(first) | dict(turns=())
  for one in back[1].turns:
    assert one.context == turn.context and one.observation == turn.observation
    assert one.logprobs.tobytes() == one.entropy.tobytes() == said.tobytes()
    assert one.reply.tolist() == [0, 1, 2, 3] and one.reply.dtype == np.int32
    assert (one.text, one.action, one.reward) == ("b", None, 0.1)


def test_an_info_that_cannot_be_sent_is_reported():
  episode = Episode("t", 0, 0, (), 0.0, False, "done", {"seen": {1, 2}})
  with pytest.raises(ValueError, match="cannot be sent to the other hosts.*plain values"):
    shares.to_bytes([episode])
