"""Whatever a model says is a step of its environment, or a turn that counts as invalid."""

import functools

import families
from hypothesis import given, settings, strategies as st
import numpy as np
import pytest

from empg_jax import chat as chats
from empg_jax.chat import actions, pieces
from empg_jax.chat.template_chat import TemplateChat
from empg_jax.config import lookup
from empg_jax.models import folder
from empg_jax.rollout.seat import NO_ACTION, Seat

ENVIRONMENTS = ("alfworld", "webshop", "deep_search")
# Words that mean something somewhere, so that chance comes upon them.
WORDS = ["<think>", "</think>", "<action>", "</action>", "search[", "click[", "]", "<search>",
         "</search>", "<visit>", "</visit>", "<answer>", "</answer>", "look", "go to ", "buy now",
         "<|end|>", "<|im_end|>", " ", "\n", "\x00", "\u2028", "\ufeff", "水",
         "a" * 2000]  # fmt: skip
TEXTS = st.lists(st.sampled_from(WORDS) | st.text(max_size=6), max_size=12).map("".join)


@functools.cache
def chat(name):
  if name.endswith("-tiny"):
    return chats.load(folder.locate(name))
  return TemplateChat(families.tokenizer(name))


@functools.cache
def playing(name):
  """An environment amid a task."""
  environment = lookup.find("empg_jax.envs", name)
  return environment.make(), environment.tasks("test" if name != "alfworld" else "valid_seen")[0]


@pytest.mark.parametrize("name", ENVIRONMENTS)
@settings(max_examples=60)
@given(said=st.lists(TEXTS, max_size=4))
def test_an_environment_answers_every_text(name, said):
  env, task = playing(name)
  env.reset(task).encode()
  for text in said:
    observation, reward, done, info = env.step(text)
    observation.encode()
    assert 0 <= reward <= 1 and isinstance(info["won"], bool)
    if done:
      break


@given(text=TEXTS)
def test_a_reply_holds_a_command_or_has_a_fault(text):
  for reply in (text, f"<think>{text}</think><action>{text}</action>"):
    command, fault = actions.action(reply), actions.fault(reply)
    assert (command is None) == (fault in actions.FAULTS)
    assert command is None or command.strip()


@pytest.mark.parametrize("name", ["alfworld-tiny", "webshop-tiny", "qwen2.5", "thinking", "llama3"])
@settings(max_examples=60)
@given(data=st.data())
def test_every_sampled_reply_is_the_text_of_its_tokens(name, data):
  # A model may have more ids than its tokenizer.
  ids = st.integers(0, chat(name).vocab_size + 64) | st.just(chat(name).end_id)
  reply = data.draw(st.lists(ids, max_size=16))
  text = chat(name).text(reply)
  text.encode()
  chat(name).action(text)
  split = pieces.splitter(chat(name).text)(reply)
  assert "".join(split) == text and len(split) == len(reply)


@pytest.mark.parametrize("name", ["alfworld-tiny", "webshop-tiny", "qwen2.5", "thinking", "llama3"])
@settings(max_examples=60)
@given(observation=TEXTS)
def test_no_observation_can_imitate_a_turn(name, observation):
  empty, ids = chat(name).opening("x"), chat(name).opening(observation)
  assert ids.count(chat(name).end_id) == empty.count(chat(name).end_id)
  assert chat(name).following(observation, ended=False).count(chat(name).end_id) >= 1


@pytest.mark.parametrize("name", ENVIRONMENTS)
@settings(max_examples=40)
@given(data=st.data())
def test_every_reply_is_a_step_or_counts_as_invalid(name, data):
  talk = chat("alfworld-tiny")
  env, task = playing(name)
  options = dict(max_length=4000, max_reply=64, max_turns=3, invalid_penalty=0.25)
  seat = Seat(talk, lambda: env, **options)
  seat.begin(task, 0, 0)
  ended = seat.hear()
  while ended is None:
    text = data.draw(TEXTS)
    said = data.draw(st.sampled_from([text, f"<think>x</think><action>{text}</action>"]))
    ids = data.draw(st.just(talk.encode(said)) | st.lists(st.integers(0, talk.vocab_size + 9)))
    ids = np.array([*ids[:60], talk.end_id], np.int32)
    seat.reply(ids, *np.zeros((2, len(ids)), np.float32))
    ended = seat.hear()
    turn = seat.turns[-1]
    assert (turn.action is None) == (talk.action(turn.text) is None)
    assert turn.action is not None or turn.reward == -0.25
    if ended is None and turn.action is None:
      assert seat.piece == talk.following(NO_ACTION, ended=True)
  assert ended.ended in ("done", "turns", "length")
