"""Real questions of 2WikiMultiHopQA on real passages, where a sample of them lies at hand."""

import itertools
import os
import pathlib
import re
import statistics

import pytest

from empg_jax.envs.deep_search import DeepSearch, corpus, data, scoring, tasks

BESIDE = pathlib.Path(__file__).parents[3] / "shared/data/deep_search"
REAL = pathlib.Path(os.environ.get("DEEP_SEARCH_SAMPLE", BESIDE))
pytestmark = pytest.mark.skipif(
  not REAL.is_dir(), reason=f"needs real questions and passages in {REAL}"
)


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
  """The sample in the folders that DEEP_SEARCH_DATA has."""
  home = tmp_path_factory.mktemp("2wiki")
  (home / "questions/test").mkdir(parents=True)
  (home / "corpus.jsonl").symlink_to(REAL / "2wiki_corpus.jsonl")
  (home / "questions/test/2wiki.jsonl").symlink_to(REAL / "2wiki_questions.jsonl")
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("DEEP_SEARCH_DATA", str(home))
    yield


def test_the_files_are_read_and_played():
  names = tasks("test", questions="files")
  assert len(names) == 318 and len(corpus.corpus("files")) == 6119
  env = DeepSearch(corpus="files")
  assert env.reset(names[0]) == "Question: Where was the father of Ștefan I. Nenițescu born?"
  found = env.step("<search>ștefan i. nenițescu father</search>").observation
  assert "Nenițescu" in found
  assert env.step("<answer>galați</answer>").info["won"]


def named(text):
  """What begins with capitals in a text, each run of such words once."""
  words = itertools.groupby(re.findall(r"[\w'’-]+|[.,;:()?]", text), lambda w: w[0].isupper())
  return dict.fromkeys(" ".join(run) for capital, run in words if capital)


def play(env, task):
  """Searches for every name it meets until the answer is shown; whether it won, its actions."""
  question = data.question(task)
  seen, waiting, actions, done = set(), [question.text, *named(question.text)], 0, False
  env.reset(task)
  while not done:
    observation, won, done, _ = env.step(f"<search>{waiting.pop(0)}</search>")
    actions += 1
    shown = f" {scoring.normalize(observation)} "
    if not done and any(f" {scoring.normalize(a)} " in shown for a in question.answers):
      _, won, done, _ = env.step(f"<answer>{question.answers[0]}</answer>")
    seen.update(waiting)
    waiting += [name for name in named(observation) if name not in seen] or [question.text]
  return won, actions


def test_an_oracle_that_follows_names_finds_most_answers_and_one_search_few():
  env = DeepSearch(corpus="files")
  played = [play(env, task) for task in tasks("test", questions="files")]
  assert statistics.mean(won for won, _ in played) > 0.7
  assert statistics.mean(won == 1 and actions == 1 for won, actions in played) < 0.4
