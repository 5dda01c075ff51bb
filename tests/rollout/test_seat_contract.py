"""An environment's slip costs its own episode, in the run's process as in a worker."""

import json

import jax
import numpy as np
import pytest
from scripted import ScriptedPolicy, ToyChat
import slips

from empg_jax import workers
from empg_jax.envs import FAULTS
from empg_jax.evaluation import players
from empg_jax.rollout import shares
from empg_jax.rollout.actor import collect
from empg_jax.tracking import metrics


@pytest.fixture(scope="module", params=[0, 1], ids=["here", "in workers"])
def make_env(request):
  with workers.environments("slips", {}, count=request.param, timeout_s=60.0) as made:
    yield made


def play(make_env, tasks, words, **options):
  """Two episodes of each task, whose replies hold one of the words or no action."""
  policy = ScriptedPolicy(slots=2, words=words, max_reply=40)
  return collect(
    policy, ToyChat(), make_env, tasks, group_size=2, max_turns=9, key=jax.random.key(0),
    **options,
  )  # fmt: skip


def check_aborted(episode, kind):
  assert (episode.ended, episode.info["fault"], episode.success) == ("aborted", kind, False)
  assert kind in FAULTS
  episode.info["error"].encode()
  json.dumps(episode.info, allow_nan=False)


@pytest.mark.parametrize("slip", slips.RESETS)
def test_a_reset_that_is_no_text_costs_its_episodes_alone(make_env, slip):
  episodes = play(make_env, [slip, "a"], ["go"])
  for episode in episodes[:2]:
    check_aborted(episode, "garbage")
    assert "slips.Slips answered a reset by" in episode.info["error"]
  assert {e.ended for e in episodes[2:]} <= {"done", "turns"}
  assert metrics.summarize(episodes)["aborted_garbage"] == 2


@pytest.mark.parametrize("slip", sorted(slips.STEPS.keys() - {"right"}))
def test_a_step_that_is_none_costs_its_episode(make_env, slip):
  episode = players.play(make_env(), Script(["go", slip, "go"]), "a", max_turns=5)
  check_aborted(episode, "garbage")
  assert "slips.Slips answered a step by" in episode.info["error"] and len(episode.turns) == 1
  episodes = play(make_env, ["a"], [slip, "go", "go", "go"]) + play(make_env, ["b"], ["go"])
  assert all(e.info.get("fault") == "garbage" for e in episodes if e.ended == "aborted")
  assert all(slip not in [turn.action for turn in e.turns] for e in episodes)


@pytest.mark.parametrize("raised", ["exit", "unprintable", "surrogate error"])
def test_whatever_is_raised_costs_its_episode(make_env, raised):
  episode = players.play(make_env(), Script(["go", raised]), "a", max_turns=5)
  check_aborted(episode, "error")
  episodes = play(make_env, ["a", "b"], [raised, "go", "go", "go", "go"])
  for aborted in (e for e in episodes if e.ended == "aborted"):
    check_aborted(aborted, "error")


def test_numbers_of_numpy_are_plain_numbers_wherever_they_come_from(make_env):
  episodes = play(make_env, ["a"], ["right"])
  for episode in episodes:
    assert (episode.ended, episode.success) == ("done", True)
    assert type(episode.turns[-1].reward) is float and episode.turns[-1].reward == 0.5
    assert episode.info == {
      "won": True, "a": 0.5, "b": [1, [0, 1]], "c": None, "4": float(2**70), "d": 2**62
    }  # fmt: skip
    assert type(episode.info["won"]) is bool
  assert shares.from_bytes(shares.to_bytes(episodes))[0].info == episodes[0].info


def test_a_close_that_returns_something_costs_nothing(make_env):
  env = make_env()
  env.reset("a")
  env.close()
  assert make_env().reset("b") == "b begins"


@pytest.mark.parametrize("returned", [None, b"text", "\ud800", KeyError("a trap")], ids=repr)
def test_a_prompt_that_is_no_text_costs_its_episode(returned):
  def prompt(first, turns, observation):
    if isinstance(returned, Exception) and len(turns) == 2:
      raise returned
    return returned if len(turns) == 2 else "told"

  with pytest.raises(RuntimeError, match="No episode of 2 was played"):
    play(slips.make, ["a"], ["go"], prompt=prompt)


def test_an_environment_that_is_false_is_made_once_a_slot():
  made = []

  def make():
    made.append(slips.make())
    return made[-1]

  play(make, ["a", "b"], ["go"])
  assert len(made) == 4


def test_an_environment_that_can_be_made_but_once_costs_the_other_episodes():
  made = []

  def make():
    made.append(slips.make())
    if len(made) > 1:
      raise OSError("too many open files")
    return made[-1]

  episodes = play(make, ["a", "b"], ["go"])
  aborted = [episode for episode in episodes if episode.ended == "aborted"]
  assert len(aborted) == 3 and len(episodes) == 4
  assert all(e.info["error"] == "OSError: too many open files" for e in aborted)


class Deaf(slips.Slips):
  """Works elsewhere, and cannot be reached any more from its second step on."""

  def ask(self, method, text):
    if method == "step" and self.count:
      raise ConnectionError("gone")

  def ready(self, most_s=0.0):
    return True


def test_an_environment_that_cannot_be_asked_costs_its_episode():
  with pytest.raises(RuntimeError, match="ConnectionError: gone"):
    play(Deaf, ["a"], ["go"])


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("arguments, words", [
  ({"missing": "catalogue"}, "FileNotFoundError: there is no catalogue"),
  ({"unknown": 1}, "TypeError: .*unknown"),
])  # fmt: skip
def test_an_environment_that_cannot_be_made_is_one_sentence(count, arguments, words):
  with pytest.raises(ValueError, match=f"^No environment of faulty can be made.*{words}"):
    with workers.environments("faulty", arguments, count=count):
      pass


def test_what_is_made_has_to_be_an_environment(monkeypatch):
  monkeypatch.setattr(slips, "make", lambda: None)
  with pytest.raises(ValueError, match="make returned None, which lacks one of reset, step and"):
    with workers.environments("slips", {}):
      pass


def test_a_penalty_of_nothing_is_no_negative_zero():
  episodes = play(slips.make, ["a"], ["go"])
  invalid = [t.reward for e in episodes for t in e.turns if t.action is None]
  assert invalid and not np.signbit(invalid).any()


class Script:
  """An agent that plays these actions."""

  def __init__(self, actions):
    self.actions = iter(actions)

  def act(self, observation, played):
    return "", next(self.actions)
