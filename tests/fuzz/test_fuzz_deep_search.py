"""Any corpus, question or server's answer is used or refused with a one-line error."""

import itertools
import json
import types

import damage
from hypothesis import given, settings, strategies as st
import pytest

from empg_jax.envs import deep_search
from empg_jax.envs.deep_search import remote

PASSAGES = [
  {"id": "0", "contents": '"Rome"\nRome is the capital of Italy.'},
  {"id": 1, "contents": '"Nero"\nNero was an emperor of Rome.'},
]
QUESTIONS = [
    {"question": "Q?", "golden_answers": ["A"], "metadata": {"supporting_facts": {"title": ["T"]}}},
    {"question": "Q?", "answer": "A", "supporting_facts": [["Nero", 0], ["Rome", 0]]},
    {"question": "Q?", "answer": "A", "answer_aliases": ["B"],
     "paragraphs": [{"title": "T", "is_supporting": True}]},
    {"Question": "Q?", "Answer": {"Value": "A", "Aliases": ["B"]}},
]  # fmt: skip
ACTIONS = ("<search>Rome Italy</search>", "<visit>Rome</visit>", "<visit>Nero</visit>",
           "<answer>Nero</answer>")  # fmt: skip


def json_lines(values):
  return "\n".join(map(json.dumps, values)).encode()


@pytest.fixture(scope="module")
def play(tmp_path_factory):
  """Plays the questions of a file on the corpus of another; how many there are."""
  root, numbers = tmp_path_factory.mktemp("deep_search"), itertools.count()

  def play(corpus=json_lines(PASSAGES), questions=json_lines(QUESTIONS), name="q.jsonl"):
    folder = root / str(next(numbers))
    (folder / "questions" / "train").mkdir(parents=True)
    (folder / "corpus.jsonl").write_bytes(corpus)
    (folder / "questions" / "train" / name).write_bytes(questions)
    patch.setenv("DEEP_SEARCH_DATA", str(folder))
    patch.setenv("EMPG_JAX_CACHE", str(folder / "cache"))
    tasks = damage.answered(lambda: deep_search.tasks("train", questions="files")) or []
    for task in tasks:
      env = damage.answered(lambda: deep_search.make(corpus="files", passage_words=3))
      if env is None:  # It opens the corpus.
        return 0
      env.reset(task).encode()
      for action in ACTIONS:
        step = damage.answered(env.step, action)
        if step is None:
          return 0
        step.observation.encode()
    return len(tasks)

  with pytest.MonkeyPatch.context() as patch:
    yield play


def test_the_whole_files_are_played(play):
  assert play() == len(QUESTIONS)


@settings(max_examples=60)
@given(passages=damage.values(PASSAGES))
def test_a_corpus_with_other_values_is_searched_or_refused(play, passages):
  play(corpus=json_lines(passages if isinstance(passages, list) else [passages]))


@settings(max_examples=40)
@given(corpus=damage.contents(json_lines(PASSAGES)))
def test_a_damaged_corpus_is_searched_or_refused(play, corpus):
  play(corpus=corpus)


@settings(max_examples=80)
@given(questions=damage.values(QUESTIONS), suffix=st.sampled_from(["jsonl", "json", "data"]))
def test_questions_with_other_values_are_played_or_refused(play, questions, suffix):
  if suffix == "jsonl":
    play(questions=json_lines(questions if isinstance(questions, list) else [questions]))
  else:
    whole = questions if suffix == "json" else {"Domain": "Web", "Data": questions}
    play(questions=json.dumps(whole).encode(), name="q.json")


@settings(max_examples=40)
@given(
  questions=damage.contents(json_lines(QUESTIONS)), name=st.sampled_from(["q.jsonl", "q.json"])
)
def test_damaged_questions_are_played_or_refused(play, questions, name):
  play(questions=questions, name=name)


def reply(body, monkeypatch):
  """The results of a search whose server sends this answer; None if it is refused."""
  response = types.SimpleNamespace(
    status=200, read=lambda *_, **__: body, release_conn=lambda: None
  )
  pool = types.SimpleNamespace(request=lambda *_, **__: response)
  monkeypatch.setattr(remote, "_pool", lambda: pool)
  server = remote.Remote("http://127.0.0.1:1")
  hits = damage.answered(server.search, "words", 3)
  for hit in hits or ():
    hit.passage.contents.encode()
  return hits


ANSWER = {"result": [[{"document": PASSAGES[0], "score": 2.5}, {"document": PASSAGES[1]}]]}


@settings(max_examples=100)
@given(answer=damage.values(ANSWER))
def test_a_servers_answer_is_taken_or_refused(answer):
  with pytest.MonkeyPatch.context() as patch:
    assert len(reply(json.dumps(ANSWER).encode(), patch)) == 2
    reply(json.dumps(answer).encode(), patch)


@settings(max_examples=60)
@given(body=damage.contents(json.dumps(ANSWER).encode()) | st.binary(max_size=30))
def test_bytes_that_a_server_sends_are_taken_or_refused(body):
  with pytest.MonkeyPatch.context() as patch:
    reply(body, patch)
