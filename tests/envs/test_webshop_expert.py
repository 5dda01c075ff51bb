"""The shopper that makes the demonstrations, and the stream of them."""

import itertools
import statistics

import pytest

from empg_jax.envs.webshop import WebShop, demos, tasks
from empg_jax.envs.webshop.expert import MAX_TURNS, Expert


def score(env, task):
  expert, observation, played = Expert(), env.reset(task), None
  for _ in range(MAX_TURNS):
    _, played = expert.act(observation, played)
    observation, reward, done, _ = env.step(played)
    if done:
      return reward
  return 0.0


@pytest.mark.parametrize(("goals", "least"), [("human", 0.97), ("synthetic", 0.95)])
def test_the_expert_buys_what_was_wanted(goals, least):
  env = WebShop()
  scores = [score(env, task) for task in tasks("test", goals=goals)[::4]]
  assert statistics.mean(scores) >= least


def test_demonstrations_are_the_same_for_the_same_seed():
  def first(seed):
    return list(itertools.islice(demos.demonstrations(seed), 5))

  assert first(0) == first(0) != first(1)


def test_demonstrations_mostly_win_and_noise_is_not_trained_on():
  played = list(itertools.islice(demos.demonstrations(0, noise=0.2), 100))
  assert statistics.mean(demo.won for demo in played) > 0.85
  turns = [turn for demo in played for turn in demo.turns]
  assert 0.1 < statistics.mean(not turn.trained for turn in turns) < 0.3
  assert all(turn.trained for turn in turns if turn.action == "click[buy now]")
  assert all(len(demo.turns) <= MAX_TURNS for demo in played)


def test_a_hasty_shopper_buys_what_it_looks_at_and_that_is_trained_on():
  played = list(itertools.islice(demos.demonstrations(0, noise=0.0, haste=0.4), 100))
  assert 0.1 < statistics.mean(demo.won for demo in played) < 0.6
  ends = [demo.turns[-1] for demo in played]
  hasty = [turn for turn in ends if turn.thought == "it will do"]
  assert 0.3 < len(hasty) / len(played) < 0.9
  assert all(turn.action == "click[buy now]" and turn.trained for turn in hasty)


def test_demonstrations_may_say_the_instruction_once():
  often, once = (
    itertools.islice(demos.demonstrations(0, repeat_instruction=say), 20) for say in (True, False)
  )
  for long, short in zip(often, once, strict=True):
    assert [turn.action for turn in short.turns] == [turn.action for turn in long.turns]
    assert short.turns[0] == long.turns[0]
    assert not any("Instruction:" in turn.observation for turn in short.turns[1:])


def test_pages_are_short_enough_for_a_small_model():
  played = itertools.islice(demos.demonstrations(0, noise=0.0), 50)
  assert max(len(turn.observation) for demo in played for turn in demo.turns) < 1500


def test_no_demonstration_is_of_a_held_out_goal():
  env, held_out = WebShop(), set()
  for split in ("test", "eval"):
    for task in tasks(split):
      env.reset(task)
      held_out.add(env._goal.instruction)
  played = itertools.islice(demos.demonstrations(0, noise=0.0), 60)
  assert not any(demo.turns[0].observation.split(" [SEP] ")[2] in held_out for demo in played)


def test_noise_must_be_a_probability():
  with pytest.raises(ValueError, match="noise must be a probability below 1, got 1.0"):
    next(demos.demonstrations(0, noise=1.0))
