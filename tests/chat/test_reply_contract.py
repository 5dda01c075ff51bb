"""What makes a reply an action belongs to its environment, and a config can change it."""

import inspect

import numpy as np
import pytest

from empg_jax import chat as chats, envs
from empg_jax.chat import actions
from empg_jax.cli import makers
from empg_jax.config import config as configs
from empg_jax.envs.deep_search import DeepSearch
from empg_jax.envs.deep_search.questions import Question
from empg_jax.models import folder
from empg_jax.rollout.seat import Seat

ANSWER = "<think>看</think><action><answer>晚上九点</answer></action>"


def chat(environment, **changed):
  """The tiny policy's, as a run of an environment loads it."""
  rules = envs.find(environment).REPLY | changed
  return chats.load(folder.locate("alfworld-tiny"), **rules)


def test_an_answer_in_chinese_is_valid_where_the_environment_allows_it():
  assert chat("deep_search").action(ANSWER) == "<answer>晚上九点</answer>"
  for environment in ("alfworld", "webshop"):
    assert chat(environment).action(ANSWER) is None
    assert chat(environment, cjk=True).action(ANSWER) == "<answer>晚上九点</answer>"
  assert chat("deep_search", cjk=False).action(ANSWER) is None


def test_a_question_in_chinese_is_won_by_its_answer(monkeypatch):
  question = Question("图书馆几点关门?", ("晚上九点",), (), "webwalker")
  monkeypatch.setattr(DeepSearch, "reset", lambda self, task: self.start(question))
  seat = Seat(
    SaidAloud(chat("deep_search")), DeepSearch, max_length=4000, max_reply=64, max_turns=3,
    invalid_penalty=0.1,
  )  # fmt: skip
  seat.begin("webwalker/0", 0, 0)
  assert seat.hear() is None
  seat.reply(np.zeros(1, np.int32), *np.zeros((2, 1), np.float32))
  episode = seat.hear()
  assert (episode.success, episode.reward, episode.info["f1"]) == (True, 1.0, 1.0)


class SaidAloud:
  """A chat in which every reply is the answer."""

  def __init__(self, chat):
    self.end_id, self.opening, self.following = chat.end_id, chat.opening, chat.following
    self.text, self.action = lambda ids: ANSWER, chat.action


def test_upper_case_stays_where_the_environment_distinguishes_it():
  text = "<think>a</think><action><search>ABBA</search></action>"
  assert chat("deep_search").action(text) == "<search>ABBA</search>"
  assert chat("alfworld").action(text) == "<search>abba</search>"
  assert chat("alfworld", lower=False).action(text) == "<search>ABBA</search>"


@pytest.mark.parametrize("text, action", [
  ("<action>look</action>", "look"),
  ("a</think><action>look</action>", "look"),
  ("<think>a<action>look</action>", None),  # in a thought that does not end
])  # fmt: skip
def test_think_tags_are_optional_where_the_environment_needs_none(text, action):
  assert actions.action(text, actions.Rules(think=False)) == action
  assert actions.action(text) is None


@pytest.mark.parametrize("text, action", [
  ("<think>not <action>go</action>, but</think><action>look</action>", "look"),
  ("<think>a</think> <think><action>go</action></think><action>look</action>", "look"),
  ("<action>look</action><think><action>go</action></think>", "look"),
  ("<think>a</think><action>say <think></action>", "say <think>"),
  ("<think><action>go</action></think>", None),
  ("<think>a</think><think><action>go</action>", None),
  ("<think><action>go</think>north</action>", None),
  ("<think>a</think>" + 3000 * "<action>" + "<think>", None),
])  # fmt: skip
def test_an_action_in_a_thought_is_no_action(text, action):
  assert actions.action(text) == action
  assert (actions.fault(text) is None) == (action is not None)


def test_the_rules_are_those_that_chats_are_loaded_with():
  options = inspect.signature(chats.load).parameters
  assert set(actions.Rules._fields) == {*options} - {"path", "instructions"}
  assert {name: options[name].default for name in actions.Rules._fields} == {
    **actions.Rules()._asdict()
  }
  for environment in ("alfworld", "webshop", "deep_search"):
    assert envs.find(environment).REPLY.keys() == set(actions.Rules._fields)


@pytest.mark.parametrize("preset", ["", ":tiny-dapo", ":qwen2.5-7b"])
@pytest.mark.parametrize("name", ["alfworld", "webshop", "deep_search"])
def test_a_config_holds_its_environments_rules_so_that_a_flag_changes_them(name, preset):
  section = configs.load(f"configs/{name}.py{preset}").chat.to_dict()
  section.pop("instructions")
  assert section == envs.find(name).REPLY


def test_another_environment_brings_its_rules():
  config = configs.load("configs/alfworld.py")
  makers.replace_makers(config, {"env.name": "deep_search"})
  assert config.chat.cjk is True and config.chat.lower is False
