"""Groups of equal returns make way for others, for so many rounds."""

import jax
import numpy as np
from scripted import Digging, ScriptedPolicy, ToyChat

from empg_jax.rollout.actor import collect
from empg_jax.rollout.dynamic import differing_groups
from empg_jax.types import Episode, Turn

ABORTED = None


def playing(*rounds):
  """A play function that deals out returns: a list of groups a round; and its calls."""
  calls = []

  def play(number, count):
    calls.append((number, count))
    groups = rounds[number][:count]
    return [
      Episode("task", g, i, (), float(r or 0), False, "aborted" if r is ABORTED else "done", {})
      for g, returns in enumerate(groups)
      for i, r in enumerate(returns)
    ]

  return play, calls


def returns(episodes):
  groups = {}
  for episode in episodes:
    groups.setdefault(episode.group, []).append(episode.reward)
  return groups


def test_groups_of_equal_returns_are_dropped_and_as_many_others_played():
  play, calls = playing([[1, 1], [1, 0], [0, 0]], [[0, 0], [0, 1]], [[1, 0]])
  got = differing_groups(play, 3, max_rounds=10)
  assert calls == [(0, 3), (1, 2), (2, 1)]
  assert returns(got.kept) == {1: [1, 0], 4: [0, 1], 5: [1, 0]}
  assert (len(got.played), got.dropped) == (12, 3)


def test_after_the_last_round_what_is_there_has_to_do():
  play, calls = playing([[1, 1], [1, 0]], [[0, 0]])
  got = differing_groups(play, 2, max_rounds=2)
  assert calls == [(0, 2), (1, 1)]
  assert returns(got.kept) == {1: [1, 0]} and got.dropped == 2


def test_if_no_group_differs_there_is_a_batch_all_the_same():
  play, _ = playing([[1, 1], [0, 0]], [[1, 1], [0, 0]])
  got = differing_groups(play, 2, max_rounds=2)
  assert returns(got.kept) == {2: [1, 1], 3: [0, 0]} and got.dropped == 2


def test_an_aborted_member_makes_no_difference():
  play, _ = playing([[1, ABORTED], [1, 0, ABORTED]])
  assert returns(differing_groups(play, 2, max_rounds=1).kept) == {1: [1, 0, 0]}


def test_without_rounds_every_group_is_kept():
  play, calls = playing([[1, 1], [0, 0]])
  got = differing_groups(play, 2, max_rounds=0)
  assert returns(got.kept) == {0: [1, 1], 1: [0, 0]} and got.dropped == 0
  assert calls == [(0, 2)]


def test_a_group_that_faults_left_one_episode_is_dropped_and_a_short_one_counted():
  play, _ = playing([[1, ABORTED, ABORTED], [0, ABORTED, 0], [1, 1, 1], [ABORTED] * 3])
  got = differing_groups(play, 4, max_rounds=0)
  assert returns(got.kept) == {1: [0, 0, 0], 2: [1, 1, 1]}
  assert (got.dropped, got.short) == (2, 1)


def test_groups_of_one_are_kept_as_they_are_wanted():
  play, _ = playing([[1], [ABORTED], [0]])
  got = differing_groups(play, 3, max_rounds=0)
  assert returns(got.kept) == {0: [1], 2: [0]} and got.dropped == 1


def seated(index, *turns):
  """An episode of turns, each the environment's reward or, for an invalid reply, a penalty."""
  none = np.zeros(0, np.float32)
  turns = tuple(
    Turn((), none.astype(np.int32), none, none, "", "", None if reward < 0 else "go", reward)
    for reward in turns
  )
  paid = sum((turn.reward for turn in turns), start=0.0)
  return Episode("task", 0, index, turns, paid, paid > 0.5, "done", {})


def test_envs_penalties_make_no_difference():
  lost = [seated(0, -0.01, 0.0), seated(1, 0.0), seated(2, -0.1, -0.1, -0.1)]
  won = [seated(0, 1.0), seated(1, -0.01, -0.01, -0.01, 0.0, 1.0), seated(2, 0.0, -0.1, 1.0)]
  for group in (lost, won):
    assert len({episode.reward for episode in group}) == 3
    got = differing_groups(lambda number, count: group, 1, max_rounds=2)
    assert got.dropped == 2 - 1 and len(got.played) == 6
  mixed = [seated(0, -1.0, 1.0), seated(1, 0.0)]  # equal with the penalty alone
  assert differing_groups(lambda *_: mixed, 1, max_rounds=2).dropped == 0


def test_envs_rewards_are_compared_as_seats_play_them():
  def play(number, count):
    return collect(
      ScriptedPolicy(slots=2, words=("dig",)), ToyChat(), lambda: Digging([]), ["1", "2"][:count],
      group_size=4, max_turns=40, key=jax.random.key(number), invalid_penalty=0.1,
    )  # fmt: skip

  episodes = play(0, 2)
  assert all(e.success for e in episodes) and len({e.reward for e in episodes}) > 1
  got = differing_groups(play, 2, max_rounds=2)
  assert len(got.played) == 16 and got.dropped == 4 - 2  # none differs, so the last are kept
