"""What counts as an action, and the answer to everything else."""

import time

import hypothesis
import hypothesis.strategies as st
import pytest

from empg_jax.envs.deep_search.actions import KINDS, MAX_LENGTH, Action, Malformed, parse


@pytest.mark.parametrize(
  ("text", "action"),
  [
    ("<search>Marie Curie</search>", Action("search", "Marie Curie")),
    ("So: <visit> Poland\n(Geography) </visit> now", Action("visit", "Poland (Geography)")),
    ("<ANSWER>Warsaw</Answer>", Action("answer", "Warsaw")),
    ("<answer>a < b > c</answer>", Action("answer", "a < b > c")),
    ("<answer>São Tomé \u2014 北京</answer>", Action("answer", "São Tomé \u2014 北京")),
    ("</search><search>x</search><answer>", Action("search", "x")),
    (f"<search>{'x' * MAX_LENGTH}</search>", Action("search", "x" * MAX_LENGTH)),
  ],
)  # fmt: skip
def test_one_action_is_found_wherever_it_stands(text, action):
  assert parse(text) == action


@pytest.mark.parametrize(
  ("text", "advice"),
  [
    ("Warsaw", "No action was understood"),
    ("<search>never closed", "No action was understood"),
    ("<think>x</think>", "No action was understood"),
    ("< search >x</ search >", "No action was understood"),
    ("<search>x</search> <answer>y</answer>", "There were 2 actions: write one at a time"),
    ("<visit>\n\t</visit>", "There was nothing between the tags of <visit>"),
    (f"<answer>{'x' * (MAX_LENGTH + 1)}</answer>", f"{MAX_LENGTH + 1} characters are too many"),
  ],
)
def test_anything_else_is_answered_with_what_was_wanted(text, advice):
  told = parse(text)
  assert isinstance(told, Malformed) and told.advice.startswith(advice)


def test_an_old_long_s_is_no_s():
  assert isinstance(parse("<\u017fearch>x</\u017fearch>"), Malformed)


@pytest.mark.parametrize("text", ["<search>", "<search><visit>", "<search></visit>"])
def test_tags_that_do_not_end_take_no_time(text):
  begun = time.process_time()
  assert isinstance(parse(20_000 * text), Malformed) and time.process_time() - begun < 2


PIECES = st.sampled_from([f"<{slash}{kind}>" for kind in KINDS for slash in ("", "/")])


@hypothesis.given(st.lists(st.one_of(PIECES, st.text(max_size=5))).map("".join))
def test_any_text_can_be_parsed(text):
  match parse(text):
    case Action(kind, argument):
      assert kind in KINDS and 0 < len(argument) <= MAX_LENGTH and argument == argument.strip()
    case Malformed(advice):
      assert advice
