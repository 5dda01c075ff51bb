"""The actor records exactly what was sampled, whatever the slots, and survives its environments."""

import collections
import dataclasses
import types

import jax
import numpy as np
import pytest
from scripted import END, Digging, ScriptedPolicy, ToyChat

from empg_jax import workers
from empg_jax.distributed import hosts
from empg_jax.distributed.preemption import Stopped
from empg_jax.rollout.actor import collect
from empg_jax.rollout.seat import NO_ACTION
from empg_jax.tracking import metrics

CHAT = ToyChat()


def play(policy, tasks=("1", "3", "2"), made=None, seed=0, **options):
  made = [] if made is None else made
  options = {"group_size": 4, "max_turns": 9} | options
  return collect(policy, CHAT, lambda: Digging(made), tasks, key=jax.random.key(seed), **options)


def plain(value):
  """Episodes as nested plain values, to compare exactly."""
  if isinstance(value, np.ndarray):
    return value.dtype.str, value.tolist()
  if isinstance(value, (list, tuple)):
    return [plain(item) for item in value]
  if dataclasses.is_dataclass(value):
    return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
  return value


def test_what_is_recorded_is_what_was_sampled_and_what_the_policy_read():
  policy = ScriptedPolicy(slots=3)
  for episode in play(policy):
    number = episode.group * 4 + episode.index
    read = []
    for turn, played in enumerate(episode.turns):
      assert played.reply.tolist() == policy.sampled[number, turn]
      assert played.logprobs.tolist() == [-i - number for i in range(1, len(played.reply) + 1)]
      np.testing.assert_array_equal(
        played.entropy, (turn + np.arange(len(played.reply)) / 100).astype(np.float32)
      )
      assert played.text == CHAT.text(played.reply) and played.action == CHAT.action(played.text)
      read += [*played.context, *played.reply.tolist()]
    assert read == policy.read[number]


def test_a_reply_cut_at_the_limit_is_closed_by_the_next_context():
  turns = [episode.turns for episode in play(ScriptedPolicy(slots=4))]
  pairs = [pair for played in turns for pair in zip(played, played[1:])]
  cut = [later.context[0] for before, later in pairs if before.reply[-1] != END]
  ended = [later.context[0] for before, later in pairs if before.reply[-1] == END]
  assert cut and set(cut) == {END} and ended and set(ended) == {1}


@pytest.mark.parametrize("slots", [1, 2, 5, 6, 11, 12, 40])
def test_episodes_do_not_depend_on_the_number_of_slots(slots):
  assert plain(play(ScriptedPolicy(slots))) == plain(play(ScriptedPolicy(slots=3)))


def test_members_of_a_group_differ_and_so_do_two_keys():
  episodes = play(ScriptedPolicy(slots=4))
  assert [(e.task, e.group, e.index) for e in episodes] == [
    (task, group, index) for group, task in enumerate(("1", "3", "2")) for index in range(4)
  ]
  replies = {tuple(tuple(turn.reply) for turn in episode.turns) for episode in episodes}
  assert len(replies) == 12
  assert plain(episodes) != plain(play(ScriptedPolicy(slots=4), seed=1))


@pytest.mark.parametrize("seed", range(5))
def test_episodes_do_not_depend_on_which_reply_ends_first(seed):
  policy = ScriptedPolicy(slots=3, pace=6, seed=seed)
  assert plain(play(policy)) == plain(play(ScriptedPolicy(slots=3)))


def test_slots_are_refilled_until_the_queue_is_empty_and_then_retired():
  policy = ScriptedPolicy(slots=2)
  play(policy, tasks=[str(n) for n in (1, 5, 1, 4, 2)])
  for number in (0, 1):
    live = [event[2] for event in policy.log if event[:2] == ("run", number)]
    assert live == sorted(live, reverse=True) and live[0] == 2 and live[-1] >= 1
  assert sum(event[2] for event in policy.log if event[0] == "ended") == len(policy.sampled)


def test_a_slot_whose_reply_has_ended_goes_on_while_others_write():
  policy = ScriptedPolicy(slots=3, pace=6)
  play(policy, tasks=["4", "5", "6"], group_size=6)
  runs = [event for event in policy.log if event[0] == "run"]
  full = [event[2] for event in runs if event[2] == 3]
  assert len(full) > 0.8 * len(runs)
  assert any(event[0] == "ended" and event[2] < 3 for event in policy.log[: len(policy.log) // 2])


def test_one_set_decodes_while_the_other_steps_its_environments():
  policy = ScriptedPolicy(slots=3)
  play(policy, tasks=["4", "5", "6"], group_size=6)
  both = max(i for i, event in enumerate(policy.log) if event[:2] == ("ended", 0))
  under_way = set()
  for i, (what, number, _) in enumerate(policy.log):
    if what == "run":
      under_way.add(number)
    else:
      assert under_way == {0, 1} or i > both - 4, "the device had nothing to do"
      under_way.remove(number)
  assert not under_way


def test_few_episodes_use_one_set_only():
  policy = ScriptedPolicy(slots=12)
  play(policy)
  assert {event[1] for event in policy.log} == {0}
  assert play(policy, tasks=[]) == []


def test_an_episode_ends_when_done_at_the_turn_limit_or_when_the_context_is_full():
  policy = ScriptedPolicy(slots=4, max_length=260)
  episodes = play(policy, tasks=["2", "50"], group_size=12, max_turns=7)
  by_end = collections.defaultdict(list)
  for episode in episodes:
    by_end[episode.ended].append(episode)
  assert set(by_end) == {"done", "turns", "length"}
  assert all(e.success and e.task == "2" and e.reward == 2.0 for e in by_end["done"])
  assert all(len(e.turns) == 7 and not e.success for e in by_end["turns"])
  for episode in by_end["length"]:
    used = sum(len(turn.context) + len(turn.reply) for turn in episode.turns)
    assert used <= 260 < used + len(NO_ACTION) + 3 + policy.max_reply
    assert 0 < len(episode.turns) < 7 and not episode.success


def test_an_invalid_reply_costs_a_turn_and_the_penalty_and_is_not_sent():
  made = []
  episodes = play(ScriptedPolicy(slots=4), made=made, invalid_penalty=0.25)
  invalid = 0
  for episode in episodes:
    for turn, later in zip(episode.turns, episode.turns[1:]):
      assert (later.observation == NO_ACTION) == (turn.action is None)
    penalties = [turn.reward for turn in episode.turns if turn.action is None]
    assert set(penalties) <= {-0.25}
    assert episode.reward == 2.0 * episode.success - 0.25 * len(penalties)
    invalid += len(penalties)
  sent = [command for env in made for command in env.commands]
  assert invalid and len(sent) == sum(len(e.turns) for e in episodes) - invalid
  assert set(sent) == {"dig", "wait"}


def test_environments_are_one_a_slot_reused_and_closed():
  made = []
  play(ScriptedPolicy(slots=2), made=made)
  assert len(made) == 4 and all(env.closed == 1 for env in made)
  assert sum(len(env.tasks) for env in made) == 12


@pytest.mark.parametrize("broken, error", [("trap", "KeyError: 'a trap'"), ("lost", "ValueError")])
def test_an_error_of_the_environment_aborts_its_episode_and_no_other(broken, error):
  made = []
  policy = ScriptedPolicy(slots=2, words=("dig",))
  episodes = play(policy, ["1", broken, "2"], made, max_turns=40)
  aborted = [episode for episode in episodes if episode.ended == "aborted"]
  assert {episode.task for episode in aborted} == {broken} and len(aborted) == 4
  assert all(error in e.info["error"] and not e.success for e in aborted)
  assert all(e.info["fault"] == "error" for e in aborted)
  others = [e for e in episodes if e.task != broken]
  assert plain(others[:4]) == plain(play(ScriptedPolicy(2, words=("dig",)), ["1"], max_turns=40))
  assert all(e.success for e in others)
  assert all(env.closed == 1 for env in made)


def test_an_opening_that_does_not_fit_aborts_with_a_sentence():
  episodes = play(ScriptedPolicy(slots=4, max_length=60), ["x" * 40 + "1", "1"])
  assert [e.ended == "aborted" for e in episodes] == [True] * 4 + [False] * 4
  assert "takes 48 tokens" in episodes[0].info["error"]


def test_all_aborted_is_an_error_with_the_first_cause():
  made = []
  with pytest.raises(RuntimeError, match="No episode of 8 was played.*task lost.*ValueError"):
    play(ScriptedPolicy(slots=3), ["lost", "lost"], made)
  assert all(env.closed for env in made)


def test_a_policy_that_fails_ends_the_run_and_closes_the_environments():
  made = []
  policy = ScriptedPolicy(slots=2)
  policy.start = lambda *_: types.SimpleNamespace(ended=lambda: [], read=lambda *_, **__: 1 / 0)
  with pytest.raises(ZeroDivisionError):
    play(policy, made=made)
  assert made and all(env.closed == 1 for env in made)


def test_distributed_a_host_plays_its_share_and_tells_of_all(monkeypatch):
  whole = play(ScriptedPolicy(slots=3))
  monkeypatch.setattr(hosts, "gather", lambda own: np.stack([own, own]))
  monkeypatch.setattr(hosts, "process_index", lambda: 1)
  made, heard = [], []
  share = play(ScriptedPolicy(slots=3), made=made, progress=heard.append)
  assert plain(share) == plain([whole[i] for i in (1, 2, 5, 7, 8, 11)])
  assert sum(len(env.tasks) for env in made) == 6 == len(made)
  assert sum(heard) == 12  # as if the other host were as far


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "on another host"])
def test_asked_to_stop_it_stops_at_the_next_turn_on_all_hosts(monkeypatch, elsewhere):
  made, policy = [], ScriptedPolicy(slots=6)
  if elsewhere:
    monkeypatch.setattr(hosts, "gather", lambda own: np.stack([own, own + len(policy.sampled)]))
  with pytest.raises(Stopped):
    play(policy, made=made, asked_to_stop=lambda: not elsewhere and len(policy.sampled) > 0)
  assert {turn for _, turn in policy.sampled} == {0}
  assert made and all(env.closed == 1 for env in made)


def test_a_fault_of_a_worker_costs_one_episode_and_is_counted():
  policy = ScriptedPolicy(slots=2, words=("go", "go", "go", "crash"))
  with workers.environments("faulty", {}, count=2, timeout_s=60.0) as make_env:
    episodes = collect(
      policy, CHAT, make_env, ["a", "b"], group_size=6, max_turns=4, key=jax.random.key(0)
    )
  summary = metrics.summarize(episodes)
  crashed = [e for e in episodes if "crash" in played(policy, e)]
  assert 0 < summary["aborted"] == summary["aborted_crash"] == len(crashed) < 12
  for episode in episodes:
    seen = [turn.observation for turn in episode.turns[1:] if turn.observation != NO_ACTION]
    assert seen == [f"go: {n}" for n in range(1, 1 + len(seen))]
    assert (episode.ended == "aborted") == (episode in crashed)


def played(policy, episode):
  """All actions of an episode, the one that it did not survive included."""
  number = episode.group * 6 + episode.index
  return [CHAT.action(CHAT.text(ids)) for (n, _), ids in policy.sampled.items() if n == number]


def test_progress_hears_of_every_episode():
  heard = []
  play(ScriptedPolicy(slots=2), ["1", "trap", "2"], progress=heard.append)
  assert sum(heard) == 12 and min(heard) >= 1 and len(heard) > 3
