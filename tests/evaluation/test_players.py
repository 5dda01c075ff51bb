"""Who plays without a policy: each environment's expert, a random agent, a human."""

import pytest

from empg_jax.config import config as configs, lookup
from empg_jax.evaluation import players, records, statistics
from empg_jax.tracking import transcript


def prepared(name, **env):
  config = configs.load(f"configs/{name}.py")
  config.env.update(env)
  environment = lookup.find("empg_jax.envs", name)
  return config, environment


CASES = [
  ("alfworld", dict(show_commands=True), "valid_seen", 0.9),
  ("webshop", dict(show_commands=True), "test", 0.6),
  ("deep_search", {}, "test", 0.9),
]


@pytest.mark.parametrize("name, env, split, least", CASES, ids=lambda x: str(x))
def test_the_expert_is_good_and_a_random_agent_is_not(name, env, split, least):
  config, environment = prepared(name, **env)
  config.rollout.max_turns = 30
  tasks = environment.tasks(split, **config.tasks)[:20]
  success = {}
  for agent in ("expert", "random"):
    played = players.collect(config, environment, agent, tasks, seed=0)
    again = players.collect(config, environment, agent, tasks[:3], seed=0)
    assert [e.turns[-1].action for e in played[:3]] == [e.turns[-1].action for e in again]
    kept = [records.record(episode, environment, 0) for episode in played]
    assert all(0 <= r["score"] <= 1 and r["entropy"] is None for r in kept)
    assert all(r["ended"] != "aborted" for r in kept), [e.info for e in played]
    success[agent] = statistics.summarize(kept)["all"]["success"].mean
  assert success["expert"] >= least and success["random"] < least / 2


def test_an_expert_without_such_a_task_is_reported_in_a_sentence():
  config, environment = prepared("alfworld")
  with pytest.raises(ValueError, match="agent expert could play no episode of .*; the first, of x"):
    players.collect(config, environment, "expert", ["x"], seed=0)


def test_a_human_reads_types_and_may_give_up():
  config, environment = prepared("alfworld")
  typed, shown = iter(["", "look"]), []

  def ask(question):
    shown.append(question)
    if (answer := next(typed, None)) is None:
      raise EOFError
    return answer

  env = environment.make()
  episode = players.play(env, players.Human(ask), environment.tasks("train")[0], max_turns=5)
  assert "Your task is to" in shown[0] and shown[1] == "> " and "--- turn 2" in shown[2]
  assert [turn.action for turn in episode.turns] == ["look"] and not episode.success
  assert "given up after 1 turn " in list(transcript.lines(episode, k=1.0))[-1]
  assert not any("  H " in line for line in transcript.lines(episode, k=1.0))
