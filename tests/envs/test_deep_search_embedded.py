"""The embedded corpus and questions, the expert, and its demonstrations."""

import hashlib
import itertools
import random
import re
import statistics

import pytest

from empg_jax.envs.deep_search import SPLITS, DeepSearch, demos, embedded, scoring, tasks
from empg_jax.envs.deep_search.corpus import corpus
from empg_jax.envs.deep_search.expert import Expert

ALL = [question for split in SPLITS for question in embedded.questions(split)]


def holds(text, question):
  text = f" {scoring.normalize(text)} "
  return any(f" {scoring.normalize(answer)} " in text for answer in question.answers)


def sample(number):
  return random.Random(0).sample(ALL, number)


def test_the_corpus_is_prose_and_small():
  passages = list(embedded.passages())
  assert len(passages) >= 10_000 and len({p.id for p in passages}) == len(passages)
  assert statistics.median(len(p.text.split()) for p in passages) > 40
  assert embedded.PASSAGES.stat().st_size + embedded.QUESTIONS.stat().st_size < 4e6
  assert not [p for p in passages if re.search(r"<\w+>|&\w+;", p.text)]


def test_no_question_is_asked_twice():
  assert len({question.text for question in ALL}) == len(ALL)


def test_all_questions_can_be_answered_by_following_the_titles():
  searched = corpus("embedded")
  found = []
  for question in sample(250):
    for title in question.titles:
      hits = searched.search(title, 10)
      assert title in {hit.passage.title for hit in hits}, title
    found.append(holds(" ".join(p.text for p in searched.document(question.titles[-1])), question))
  assert statistics.mean(found) >= 0.98


def test_one_search_is_not_enough():
  searched = corpus("embedded")
  told = [
    any(holds(hit.passage.contents, question) for hit in searched.search(question.text, 3))
    for question in sample(250)
  ]
  assert statistics.mean(told) < 0.25


def test_no_training_question_is_about_an_entity_of_a_test_question():
  def titles(split):
    return {q.titles[0] for q in embedded.questions(split)}

  def held_out(title):  # as sources/make.py decides it
    entity = re.sub(r" \([^)]*\)$", "", title)
    return hashlib.sha256(entity.encode()).digest()[0] < 64

  assert not titles("train") & titles("test")
  assert {held_out(title) for title in titles("test")} == {True}
  assert {held_out(title) for title in titles("train")} == {False}


def play(env, task):
  expert, observation, played, done = Expert(), env.reset(task), None, False
  while not done:
    _, played = expert.act(observation, played)
    observation, reward, done, _ = env.step(played)
  return reward


@pytest.mark.parametrize("split", SPLITS)
def test_the_expert_answers(split):
  env = DeepSearch()
  chosen = random.Random(1).sample(tasks(split), 80)
  assert statistics.mean(play(env, task) for task in chosen) >= 0.98


SHORT = dict(questions="short", topk=2, passage_words=20, page_words=60)


def test_demonstrations_are_the_same_for_the_same_seed():
  def first(seed):
    return list(itertools.islice(demos.demonstrations(seed, **SHORT), 5))

  assert first(0) == first(0) != first(1)


def test_demonstrations_mostly_win_and_noise_is_not_trained_on():
  played = list(itertools.islice(demos.demonstrations(0, noise=0.2, **SHORT), 100))
  assert statistics.mean(demo.won for demo in played) > 0.9
  turns = [turn for demo in played for turn in demo.turns]
  assert 0.05 < statistics.mean(not turn.trained for turn in turns) < 0.25
  assert all(turn.trained for turn in turns if turn.action.startswith("<answer>"))
  assert max(len(turn.observation) for turn in turns) < 900


def test_a_hasty_searcher_answers_with_what_it_was_shown_first_and_that_is_trained_on():
  played = list(itertools.islice(demos.demonstrations(0, noise=0.0, haste=0.4, **SHORT), 100))
  assert 0.3 < statistics.mean(demo.won for demo in played) < 0.8
  hasty = [demo.turns[-1] for demo in played if demo.turns[-1].thought == "it may be this"]
  assert 0.2 < len(hasty) / len(played) < 0.7
  for turn in hasty:
    guess = turn.action.removeprefix("<answer>").removesuffix("</answer>")
    assert f"(Title: {guess}" in turn.observation and turn.trained


def test_demonstrations_are_of_training_questions_alone():
  train = {question.text for question in embedded.questions("train")}
  for demo in itertools.islice(demos.demonstrations(3), 50):
    assert demo.turns[0].observation.removeprefix("Question: ") in train


def test_noise_must_be_a_probability():
  with pytest.raises(ValueError, match="noise must be a probability below 1, got 1.0"):
    next(demos.demonstrations(0, noise=1.0))
