"""Deep Search's questions as a dataset: written once, read at random, by anyone."""

import json
import pathlib

import pytest
import tensorflow_datasets as tfds

from empg_jax.data.questions import questions
from empg_jax.envs.deep_search import SPLITS, DeepSearch, data, embedded, tasks


@pytest.fixture(scope="module")
def home(tmp_path_factory):
  """A folder with the embedded questions, written once for all tests."""
  folder = tmp_path_factory.mktemp("tfds")
  questions("embedded", data_dir=str(folder))
  return folder


def test_the_dataset_holds_every_embedded_question_in_order(home):
  read = questions("embedded", data_dir=str(home))
  assert list(read) == list(SPLITS)
  for split in SPLITS:
    names, asked = tasks(split), embedded.questions(split)
    assert len(read[split]) == len(names)
    for i in range(0, len(names), 97):
      assert read[split][i] == {
        "id": names[i], "question": asked[i].text, "answers": list(asked[i].answers),
        "titles": list(asked[i].titles), "type": asked[i].kind, "hops": len(asked[i].titles),
        "split": split,
      }  # fmt: skip
  assert {read["test"][i]["hops"] for i in range(200)} >= {2, 3}


def test_an_element_is_played_by_its_id(home):
  element = questions("embedded", data_dir=str(home))["test"][5]
  env = DeepSearch()
  assert env.reset(element["id"]) == f"Question: {element['question']}"
  assert env.step(f"<answer>{element['answers'][-1]}</answer>").info["won"]


def test_it_is_written_once(home, monkeypatch):
  monkeypatch.setattr(data, "question", None)  # nothing asks for questions any more
  assert len(questions("embedded", data_dir=str(home))["test"]) == len(tasks("test"))


def test_other_programs_read_the_files_without_this_package(home):
  (folder,) = (home / "deep_search_questions").glob("embedded-*/1.0.0")
  assert list(folder.glob("*.array_record*"))
  source = tfds.builder_from_directory(folder).as_data_source("train")
  assert source[0]["question"].decode() == embedded.questions("train")[0].text
  assert source[0]["split"] == b"train"


@pytest.fixture
def files(tmp_path, monkeypatch):
  """A folder of question files: one of train, none of test, one out of domain."""
  monkeypatch.setenv("DEEP_SEARCH_DATA", str(tmp_path))
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
  for name in ("train/nq", "out_of_domain/musique"):
    (tmp_path / "questions" / name).parent.mkdir(parents=True)
  write(tmp_path, "train/nq", {"question": "Who?", "answer": ["Nero", "Nero Caesar"]})
  hop = {"title": "Łódź", "is_supporting": True}
  two = {"question": "Q?", "answer": "A", "answer_aliases": ["AA"], "paragraphs": [hop, hop]}
  write(tmp_path, "out_of_domain/musique", two)
  return tmp_path


def write(folder: pathlib.Path, name: str, *entries):
  path = folder / "questions" / f"{name}.jsonl"
  path.write_text("\n".join(map(json.dumps, entries)))


def test_your_own_files_are_a_dataset_of_the_splits_that_they_have(files):
  read = questions("files")
  assert {split: len(records) for split, records in read.items()} == {
    "train": 1, "out_of_domain": 1,
  }  # fmt: skip
  assert read["train"][0]["answers"] == ["Nero", "Nero Caesar"] and not read["train"][0]["titles"]
  assert read["out_of_domain"][0] == {
    "id": "files/out_of_domain/musique/0", "question": "Q?", "answers": ["A", "AA"],
    "titles": ["Łódź"], "type": "musique", "hops": 1, "split": "out_of_domain",
  }  # fmt: skip


def test_changed_files_are_another_dataset(files):
  assert len(questions("files")["train"]) == 1
  write(files, "train/nq", *[{"question": f"Who {i}?", "answer": "a"} for i in range(3)])
  assert len(questions("files")["train"]) == 3


def test_wrong_sources_are_reported(tmp_path, monkeypatch):
  with pytest.raises(ValueError, match="source must be one of embedded, short, files, tfds:"):
    questions("hotpotqa")
  monkeypatch.setenv("DEEP_SEARCH_DATA", str(tmp_path))
  with pytest.raises(FileNotFoundError, match="there are no files of questions in .*/questions"):
    questions("files")
