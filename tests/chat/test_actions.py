"""Which replies hold an action, and what is wrong with the others."""

import pytest

from empg_jax.chat import actions


@pytest.mark.parametrize(
  "text, action",
  [
    ("<think>a</think><action>look</action>", "look"),
    ("<think>a</think>\n<action> Go To fridge 1 </action>\n", "go to fridge 1"),
    ("So.<think>a</think>then <action>look</action> and <action>go</action>!", "look"),
    ("<action>look</action><think>a</think>", "look"),
    ("<think>caf\u00e9</think><action>look</action>", "look"),
  ],
)
def test_the_first_action_block_is_the_action(text, action):
  assert actions.action(text) == action and actions.fault(text) is None


@pytest.mark.parametrize(
  "text, fault",
  [
    ("<think>a</think><action>  </action>", "no_action"),
    ("<think>a</think><action>look", "no_action"),
    ("look", "no_action"),
    ("", "no_action"),
    ("<action>look</action>", "no_think"),
    ("<think>a<action>look</action>", "no_think"),
    ("a</think><action>look</action>", "no_think"),
    ("<think>\u770b</think><action>look</action>", "cjk"),
    ("<think>a</think><action>\u770b</action>", "cjk"),
  ],
)
def test_a_fault_has_a_name_and_makes_the_reply_invalid(text, fault):
  assert actions.fault(text) == fault and fault in actions.FAULTS
  assert actions.action(text) is None
