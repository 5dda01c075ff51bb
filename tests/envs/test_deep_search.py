"""Deep Search as an environment: tasks, actions, rewards, what every agent may do to it."""

import pickle
import random
import subprocess
import sys

import pytest

from empg_jax.envs.deep_search import SPLITS, DeepSearch, task_type, tasks
from empg_jax.envs.deep_search.questions import Question

QUESTION = Question(
  "What is the capital of the country where Marie Curie was born?",
  ("Warsaw", "Warszawa"),
  ("Marie Curie", "Poland (Government)"),
  "birth_capital",
)


def started(**options):
  env = DeepSearch(**options)
  env.start(QUESTION)
  return env


def test_splits_hold_enough_questions_of_enough_templates():
  kinds = {split: {task_type(task) for task in tasks(split)} for split in SPLITS}
  assert sum(len(tasks(split)) for split in SPLITS) >= 3000
  assert len(kinds["train"] | kinds["out_of_domain"]) >= 12
  assert kinds["train"] == kinds["test"] and not kinds["train"] & kinds["out_of_domain"]
  short = tasks("train", questions="short")
  assert set(short) < set(tasks("train")) and short[0].startswith("embedded/train/")


def test_an_episode_from_question_to_answer():
  env = started()
  found = env.step("<search>Marie Curie was born</search>")
  assert found.observation.startswith("<information>Doc 1(Title: Marie Curie) Marie Curie was born")
  assert found.observation.endswith("</information>") and "\nDoc 3(Title: " in found.observation
  assert found.info["searches"] == 1 and found.info["recall"] == 0.5
  read = env.step("<visit>poland (government)</visit>")
  assert "Capital - name: Warsaw." in read.observation and read.info["visits"] == 1
  end = env.step("<answer>warsaw</answer>")
  assert (end.reward, end.done, end.info["won"], end.info["f1"]) == (1.0, True, True, 1.0)
  assert end.info["recall"] == 1.0 and end.info["answer"] == "warsaw"


@pytest.mark.parametrize(
    ("answer", "won", "f1"),
    [("Warszawa", True, 1.0), ("The Warsaw!", True, 1.0), ("Warsaw, Poland", False, 2 / 3),
     ("Krakow", False, 0.0)],
)  # fmt: skip
def test_an_answer_counts_by_exact_match_with_any_alias(answer, won, f1):
  end = started().step(f"<answer>{answer}</answer>")
  assert end.done and end.info["won"] is won and end.reward == float(won)
  assert end.info["f1"] == pytest.approx(f1)


@pytest.mark.parametrize(
  ("action", "advice"),
  [
    ("search for Marie Curie", "No action was understood: write <search>words</search>"),
    ("", "No action was understood"),
    ("<search>a</answer>", "No action was understood"),
    ("<search>a</search><search>b</search>", "There were 2 actions: write one at a time"),
    ("<answer>  </answer>", "There was nothing between the tags of <answer>"),
    (f"<search>{'x' * 1001}</search>", "1001 characters are too many for <search>"),
  ],
)
def test_a_malformed_action_is_answered_and_counted(action, advice):
  step = started().step(action)
  assert step.observation.startswith(advice) and not step.done
  assert step.info["malformed"] == 1 and step.info["searches"] == 0


def test_the_budget_ends_the_episode_and_the_last_action_is_announced():
  env = started(max_actions=3)
  told = [env.step(action) for action in ("x", "<search>y</search>", "<visit>z</visit>")]
  assert [step.done for step in told] == [False, False, True]
  assert told[1].observation.endswith("This is the last action: answer now.")
  assert told[2].reward == 0 and not told[2].info["won"]
  with pytest.raises(ValueError, match="has ended"):
    env.step("x")


def test_an_only_action_is_announced_with_the_question():
  task, last = tasks("test")[0], "\nThis is the last action: answer now."
  question = DeepSearch(max_actions=2).reset(task)
  assert DeepSearch(max_actions=1).reset(task) == question + last


def test_a_document_is_read_page_by_page_and_then_again_from_the_first():
  env = started(page_words=250)
  pages = [env.step("<visit>Poland (People and Society)</visit>").observation for _ in range(4)]
  assert "Page 1 of 3. Visit it again for the next one." in pages[0]
  assert "Page 3 of 3.<" in pages[2] and pages[3] == pages[0] != pages[1]
  gone = env.step("<visit>Atlantis</visit>").observation
  assert "There is no document 'Atlantis': visit a title that a search has shown." in gone


def test_results_can_be_cut_to_the_words_around_the_query():
  env = started(topk=2, passage_words=20)
  text = env.step("<search>Poland Government capital name</search>").observation
  assert "Capital - name: Warsaw." in text and len(text.split()) < 60


def test_a_search_that_finds_nothing_says_so():
  assert "Nothing was found" in started().step("<search>qqqq zzzz</search>").observation


def test_the_same_actions_give_the_same_text_and_an_episode_can_be_pickled():
  env, rng = DeepSearch(), random.Random(0)
  for task in rng.sample(tasks("test"), 5):
    question = env.reset(task)
    assert question.startswith("Question: What is ")
    env.step(f"<search>{question}</search>")
    copy = pickle.loads(pickle.dumps(env))
    action = "<search>highest point</search>"
    assert env.step(action) == copy.step(action)


def test_several_processes_share_one_index(tmp_path, monkeypatch):
  monkeypatch.setenv("EMPG_JAX_CACHE", str(tmp_path))
  program = (
    "from empg_jax.envs.deep_search import DeepSearch, tasks\n"
    "env = DeepSearch(); env.reset(tasks('test')[0])\n"
    "print(env.step('<search>Marie Curie</search>').observation)"
  )
  run = [sys.executable, "-c", program]
  started = [subprocess.Popen(run, stdout=subprocess.PIPE, text=True) for _ in range(2)]
  told = [process.communicate()[0] for process in started]
  assert [process.returncode for process in started] == [0, 0]
  assert len(set(told)) == 1 and "Doc 1(Title: Marie Curie)" in told[0]
  assert len([path for path in (tmp_path / "deep_search").iterdir() if path.is_dir()]) == 1


@pytest.mark.parametrize("task", ["embedded/train/99999", "embedded/dev/0", "embedded/train/x", ""])
def test_an_unknown_task_is_reported(task):
  with pytest.raises(ValueError, match=r"^there is no task .*: take one from tasks\("):
    DeepSearch().reset(task)


def test_wrong_use_is_reported():
  with pytest.raises(ValueError, match="split must be one of train, test, out_of_domain"):
    tasks("dev")
  with pytest.raises(ValueError, match="questions must be one of embedded, short, files"):
    tasks("test", questions="hotpotqa")
  with pytest.raises(ValueError, match="corpus must be one of embedded, files or a server's addr"):
    DeepSearch(corpus="wikipedia")
  with pytest.raises(ValueError, match="topk must be at least 1, got 0"):
    DeepSearch(topk=0)
  with pytest.raises(ValueError, match="call reset"):
    DeepSearch().step("<search>x</search>")
