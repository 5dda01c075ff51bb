"""Rows of one turn: each a prompt of its own, and the same steps for EMPG as whole transcripts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scripted import Digging, ScriptedPolicy, ToyChat

from empg_jax import modulate_advantages
from empg_jax.envs import alfworld, deep_search, webshop
from empg_jax.rollout.actor import collect
from empg_jax.rollout.pack import by_turn, count_rows, deal, pack


def prompt(first, turns, observation, *, window):
  past = "".join(f"{seen}>{action}|" for seen, action in turns[max(len(turns) - window, 0) :])
  return f"{first}#{past}#{observation}"


def play(prompt=None, max_length=2000):
  policy = ScriptedPolicy(slots=3, max_length=max_length)
  return collect(
    policy, ToyChat(), lambda: Digging([]), ["2", "3"], group_size=3, max_turns=5,
    key=jax.random.key(0), prompt=prompt, invalid_penalty=0.5,
  )  # fmt: skip


@pytest.fixture(scope="module")
def turn_by_turn():
  return play(functools.partial(prompt, window=2))


def test_each_turn_reads_a_prompt_of_its_own(turn_by_turn):
  chat = ToyChat()
  for episode in turn_by_turn:
    first, past = episode.turns[0].observation, []
    for number, turn in enumerate(episode.turns):
      message = prompt(first, past, turn.observation, window=2) if number else first
      assert list(turn.context) == chat.opening(message)
      past.append((turn.observation, turn.action))


def test_an_episode_is_longer_than_its_context_may_be():
  episodes = play(functools.partial(prompt, window=0), max_length=130)
  assert all(episode.ended in ("done", "turns") for episode in episodes)
  assert any(sum(len(t.context) + len(t.reply) for t in e.turns) > 130 for e in episodes)


def test_a_row_is_a_turn_that_knows_its_episode(turn_by_turn):
  parts = by_turn(turn_by_turn)
  batch = pack(parts, lengths=[512], multiple=count_rows(len(parts), 6))
  row = 0
  for episode in turn_by_turn:
    first = row
    for step, turn in enumerate(episode.turns, 1):
      own = batch.steps[row] == step
      np.testing.assert_array_equal(batch.actions[row][own], turn.reply)
      assert set(batch.steps[row]) == {0, step}
      assert (batch.episode_ids[row], batch.group_ids[row]) == (first, episode.group)
      assert batch.returns[row] == np.float32(episode.reward)
      np.testing.assert_array_equal(batch.rewards[row][own], np.float32(turn.reward))
      row += 1
  assert not batch.steps[row:].any()


def test_both_layouts_give_empg_the_same_steps():
  """The same replies, in a row an episode and in a row a turn, dealt out in any order."""
  episodes = play()
  rows = {}
  for name, parts in (("episodes", episodes), ("turns", deal(by_turn(episodes), 2, 32))):
    batch = pack(parts, lengths=[1024])
    advantages = modulate_advantages(
      jnp.asarray(batch.returns), batch.behavior_entropy, batch.steps, zeta=0.3,
      episode_ids=batch.episode_ids,
    )  # fmt: skip
    replies = {}
    for b, t in zip(*np.nonzero(batch.steps)):
      key = int(batch.group_ids[b]), float(batch.returns[b]), int(batch.steps[b, t])
      of_step = replies.setdefault((*key, float(batch.behavior_entropy[b, t])), [])
      of_step.append(float(advantages[b, t]))
    rows[name] = replies
  assert rows["episodes"].keys() == rows["turns"].keys()
  for key, want in rows["episodes"].items():
    np.testing.assert_allclose(sorted(rows["turns"][key]), sorted(want), atol=1e-5)


@pytest.mark.parametrize("parts, rows", [(1, 6), (6, 6), (7, 12), (13, 24)])
def test_rows_come_in_few_numbers(parts, rows):
  assert count_rows(parts, 6) == rows


def test_alfworlds_prompt_names_the_task_and_the_last_turns():
  env = alfworld.make(show_commands=True)
  first = env.reset(alfworld.tasks("train")[0])
  turns, observation = [], first
  for command in ("look", "inventory", None, "look"):
    turns.append((observation, command))
    observation = env.step(command).observation if command else "Nothing happens."
  text = alfworld.prompt(first, turns, observation, window=2)
  lines = text.split("\n\n")
  assert lines[0].startswith("Your task is to: ") and lines[0] in first
  assert lines[1] == "You have taken 4 steps."
  assert "Step 3, you saw: You are not carrying anything." in text
  assert "Your command: (a reply without a command)" in text
  assert "Step 4, you saw: Nothing happens.\nYour command: look" in text
  assert "Step 2" not in text and text.endswith(f"Now you see: {observation}")
  assert text.count("Commands: ") == 1


def test_deep_searchs_prompt_is_the_question_and_the_last_turns():
  turns = [("Question: who?", "<search>who</search>"), ("<information>..</information>", None)]
  text = deep_search.prompt("Question: who?", turns, "Page 1", window=1)
  assert text == (
    "Question: who?\n\nYou have taken 2 steps.\n\nStep 2, you saw:"
    " <information>..</information>\nYour command: (a reply without a command)\n\n"
    "Now you see: Page 1"
  )


def test_webshops_prompt_names_the_instruction():
  env = webshop.make()
  first = env.reset(webshop.tasks("test")[0])
  after = env.step("search[shoes]").observation
  text = webshop.prompt(first, [(first, "search[shoes]")], after, window=2)
  goal = text.split("\n\n")[0].removeprefix("Your instruction is: ")
  assert goal and f"Instruction: [SEP] {goal} [SEP]" in first
  assert text.endswith(f"Now you see: {after}") and "You have taken 1 step." in text
