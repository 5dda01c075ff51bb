"""Corpora and questions in the usual files: read, and told of in one sentence where broken."""

import json

import pytest

from empg_jax.envs._shared import json_files
from empg_jax.envs.deep_search import DeepSearch, corpus, question_files, task_type, tasks
from empg_jax.envs.deep_search.questions import Question

PASSAGES = [
  {"id": "0", "contents": '"Rome"\nRome is the capital of Italy.'},
  {"id": "1", "contents": '"Rome"\nThe Tiber flows through it.'},
  {"id": "2", "contents": '"Nero"\nNero was an emperor of Rome.'},
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.setenv("DEEP_SEARCH_DATA", str(tmp_path))
  monkeypatch.setenv("EMPG_JAX_CACHE", str(tmp_path / "cache"))
  (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, PASSAGES)) + "\n\n")
  for split in ("train", "test"):
    (tmp_path / "questions" / split).mkdir(parents=True)
  write(tmp_path, "train/hotpotqa.json", json.dumps([HOTPOT, HOTPOT]))
  write(tmp_path, "train/nq.jsonl", json.dumps({"question": "Who?", "answer": ["Nero"]}))
  return tmp_path


def write(folder, name, text):
  (folder / "questions" / name).write_text(text)


HOTPOT = {
  "_id": "x", "question": "Where did  Nero rule?", "answer": "Rome", "type": "bridge",
  "supporting_facts": [["Nero", 0], ["Rome", 0], ["Nero", 1]], "context": [["Nero", ["..."]]],
}  # fmt: skip
FORMS = {
    "search_r1": (
        {"id": "1", "question": "Q?", "golden_answers": ["A", "B", "A"],
         "metadata": {"supporting_facts": {"title": ["T", "U", "T"], "sent_id": [0, 1, 2]}}},
        (("A", "B"), ("T", "U")),
    ),
    "hotpotqa": (HOTPOT, (("Rome",), ("Nero", "Rome"))),
    "2wiki": (HOTPOT | {"answer": 1912, "evidences": []}, (("1912",), ("Nero", "Rome"))),
    "hotpotqa_hub": (
        HOTPOT | {"supporting_facts": {"title": ["Nero", "Rome"], "sent_id": [0, 0]}},
        (("Rome",), ("Nero", "Rome")),
    ),
    "musique": (
        {"id": "2hop__1", "question": "Q?", "answer": "A", "answer_aliases": ["AA"],
         "answerable": True, "paragraphs": [
             {"title": "T", "is_supporting": True}, {"title": "N", "is_supporting": False}]},
        (("A", "AA"), ("T",)),
    ),
    "bamboogle": ({"Question": "Q?", "Answer": "A"}, (("A",), ())),
    "nq_open": ({"question": "Q?", "answer": ["A", "B"]}, (("A", "B"), ())),
    "triviaqa": (
        {"Question": "Q?", "Answer": {"Value": "A", "Aliases": ["A", "B"], "Type": "x"}},
        (("A", "B"), ()),
    ),
    "triviaqa_hub": (
        {"question": "Q?", "answer": {"value": "A", "aliases": ["B"]}}, (("A", "B"), ()),
    ),
    "webwalker": (
        {"question": "Q?", "answer": "A", "root_url": "https://x.org", "info": {"hop": "multi"}},
        (("A",), ()),
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_every_form_is_read(tmp_path, form, suffix):
  entry, (answers, titles) = FORMS[form]
  path = (tmp_path / form).with_suffix(suffix)
  path.write_text(json.dumps(entry) + "\n\n" if suffix == ".jsonl" else json.dumps([entry]))
  text = " ".join(entry.get("question", entry.get("Question")).split())
  assert list(question_files.read(path)) == [Question(text, answers, titles, form)]


def test_triviaqas_own_files_are_objects_with_data(tmp_path):
  path = tmp_path / "trivia.json"
  path.write_text(json.dumps({"Domain": "Web", "Data": [FORMS["triviaqa"][0]], "Version": 1.0}))
  assert [question.answers for question in question_files.read(path)] == [("A", "B")]


@pytest.mark.parametrize(
  ("name", "text", "sentence"),
  [
    ("a.jsonl", '{"question": "Q?", "answer": "A"}\n{"quest', "a.jsonl, line 2 is no JSON"),
    ("a.jsonl", "\x00", "a.jsonl, line 1 is no JSON"),
    ("a.jsonl", "[1]", r"line 1 is \[1\]: want an object with a question and its answer"),
    ("a.jsonl", '{"question": "Q?"}', "line 1 is {'question': 'Q\\?'}: want an object"),
    ("a.jsonl", '{"question": " ", "answer": "A"}', "want an object with a question"),
    ("a.jsonl", '{"question": "Q?", "answer": [null, " "]}', "want an object with a question"),
    ("a.jsonl", '{"question": "Q?", "answer": NaN}', "want an object with a question"),
    ("a.jsonl", r'"a\nb"', r"line 1 is 'a\\nb': want an object"),
    ("a.jsonl", "[" * 200 + "]" * 200, "no JSON .it nests deeper than 100 levels"),
    ("a.jsonl", "[" * 100_000, "no JSON .it nests too deeply"),
    ("a.jsonl", r'{"question": "\udfff", "answer": "A"}', "no JSON .*surrogates not allowed"),
    ("a.json", '[{"question": "Q?", "answer": "A"}, 7]', "entry 2 is 7: want an object"),
    ("a.json", '[{"question"', "cannot read .*a.json as one JSON list"),
    ("a.json", '{"rows": []}', "is an object without a list as 'data'"),
  ],
)
def test_broken_questions_are_reported_in_one_sentence(tmp_path, name, text, sentence):
  (tmp_path / name).write_text(text)
  with pytest.raises(ValueError, match=sentence):
    list(question_files.read(tmp_path / name))


@pytest.mark.parametrize(
  ("line", "sentence"),
  [
    (b'{"id": "0", "contents": "x', "line 4 is no JSON"),
    (b"\xff\xfe", "line 4 is no JSON"),
    (b"[]", r'line 4 is \[\]: want {"id": "0", "contents"'),
    (b'{"id": null, "contents": "x"}', "line 4 is .*: want"),
    (b'{"id": "0", "text": "x"}', "line 4 is .*: want"),
  ],
)
def test_a_broken_corpus_is_reported_and_leaves_nothing_behind(folder, line, sentence):
  with (folder / "corpus.jsonl").open("ab") as f:
    f.seek(0, 2)
    f.truncate(f.tell() - 1)  # the empty line
    f.write(line)
  with pytest.raises(ValueError, match=sentence):
    corpus.corpus("files")
  assert not [path for path in (folder / "cache/deep_search").iterdir() if path.is_dir()]


def test_a_line_without_end_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(json_files, "_LARGEST_LINE", 40)
  (tmp_path / "a.jsonl").write_text('{"question": "Q?", "answer": "A"}\n' + "x" * 41)
  with pytest.raises(ValueError, match="a.jsonl, line 2 is no JSON .it is longer than 40 bytes"):
    list(question_files.read(tmp_path / "a.jsonl"))


def test_your_own_files_are_played(folder):
  names = tasks("train", questions="files")
  assert names == ["files/train/hotpotqa/0", "files/train/hotpotqa/1", "files/train/nq/0"]
  assert [task_type(name) for name in names] == ["hotpotqa", "hotpotqa", "nq"]
  env = DeepSearch(corpus="files")
  assert env.reset(names[0]) == "Question: Where did Nero rule?"
  assert env.step("<search>emperor</search>").info["recall"] == 0.5
  assert "capital of Italy. The Tiber" in env.step("<visit>rome</visit>").observation
  end = env.step("<answer>rome</answer>")
  assert end.info["won"] and end.info["recall"] == 1


def test_changed_files_are_read_anew(folder):
  assert len(tasks("train", questions="files")) == 3
  write(folder, "train/nq.jsonl", '{"question": "Who?", "answer": "a"}\n' * 5)
  assert len(tasks("train", questions="files")) == 7


def test_absent_files_are_reported(folder, monkeypatch):
  with pytest.raises(FileNotFoundError, match="no .jsonl or .json file in .*test: set DEEP"):
    tasks("test", questions="files")
  with pytest.raises(ValueError, match="there is no task 'files/train/musique/0'"):
    DeepSearch().reset("files/train/musique/0")
  (folder / "corpus.jsonl").unlink()
  with pytest.raises(FileNotFoundError, match="no file .*corpus.jsonl: set DEEP_SEARCH_DATA"):
    corpus.corpus("files")
  monkeypatch.delenv("DEEP_SEARCH_DATA")
  with pytest.raises(FileNotFoundError, match="are not set up: set DEEP_SEARCH_DATA"):
    tasks("test", questions="files")
