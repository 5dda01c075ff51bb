"""Natural Questions and TriviaQA as TensorFlow Datasets has them."""

import json
import socket

import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import downloader

from empg_jax.cli import command_line
from empg_jax.envs.deep_search import DeepSearch, published, task_type, tasks
from empg_jax.envs.deep_search.questions import Question

NQ, TRIVIA = published.NAMES


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
  return tmp_path


def write(path, text):
  path.write_text(text)
  return path


def prepare_natural_questions(home, monkeypatch):
  """TFDS's own builder, on files of the published form instead of a download."""
  lines = (
    {"question": "who was the first emperor of rome", "answer": ["Augustus", "Octavian"]},
    {"question": "capital of são tomé", "answer": ["São Tomé"]},
  )
  files = {
    "train": write(home / "train.jsonl", "\n".join(map(json.dumps, lines))),
    "validation": write(home / "dev.jsonl", json.dumps(lines[1])),
  }
  monkeypatch.setattr(tfds.download.DownloadManager, "download", lambda *_: files)


TRIVIA_FILE = """{
    "Data": [
        {
            "Answer": {
                "Aliases": ["Sunset Blvd", "Sunset Boulevard "],
                "MatchedWikiEntityName": "Sunset Boulevard",
                "NormalizedAliases": ["sunset blvd", "sunset boulevard"],
                "NormalizedValue": "sunset boulevard",
                "Type": "WikipediaEntity",
                "Value": "Sunset Boulevard"
            },
            "EntityPages": [],
            "Question": "Which Lloyd Webber  musical premiered in 1993?",
            "QuestionId": "tc_33",
            "QuestionSource": "http://www.triviacountry.com/",
            "SearchResults": []
        }
    ],
    "Domain": "Web"
}
"""


def prepare_trivia(home, monkeypatch):
  """TFDS's own features and reading of a file; finding the files would take TensorFlow."""
  cls = tfds.builder_cls("trivia_qa")
  file = write(home / "trivia.json", TRIVIA_FILE)

  def generators(self, dl_manager):
    return {s: self._generate_examples([file], None, None) for s in ("train", "validation")}

  monkeypatch.setattr(cls, "_split_generators", generators)
  builder = tfds.builder(TRIVIA, data_dir=home)
  builder.download_and_prepare(file_format="array_record")


def test_natural_questions_are_prepared_and_played(home, monkeypatch):
  prepare_natural_questions(home, monkeypatch)
  train = tasks("train", questions=f"tfds:{NQ}")
  assert train == [f"tfds/train/{NQ}/0", f"tfds/train/{NQ}/1"]
  assert tasks("test", questions=f"tfds:{NQ}") == [f"tfds/test/{NQ}/0"]
  assert list(home.rglob("*.array_record*")) and task_type(train[0]) == NQ
  env = DeepSearch()
  asked = {env.reset(task): env.step("<answer>octavian</answer>").info["won"] for task in train}
  assert asked == {
    "Question: who was the first emperor of rome": True,
    "Question: capital of são tomé": False,
  }


def test_trivia_qa_is_read_with_its_aliases(home, monkeypatch):
  prepare_trivia(home, monkeypatch)
  (task,) = tasks("test", questions=f"tfds:{TRIVIA}")
  assert task == f"tfds/test/{TRIVIA}/0" and task_type(task) == "trivia_qa"
  assert list(published.read(TRIVIA, "train")) == [
    Question(
      "Which Lloyd Webber musical premiered in 1993?",
      ("Sunset Boulevard", "Sunset Blvd"), (), "trivia_qa",
    )
  ]  # fmt: skip


def test_without_a_network_one_sentence_says_what_to_do(home, monkeypatch):
  def unknown_host(*_, **__):
    raise socket.gaierror("no network")

  monkeypatch.setattr(socket, "getaddrinfo", unknown_host)
  monkeypatch.setattr(downloader, "MAX_RETRIES", 0)
  with pytest.raises(FileNotFoundError, match=r"downloaded \(.*\): run `tfds build nat") as told:
    tasks("train", questions=f"tfds:{NQ}")
  assert command_line.is_for_the_user(told.value) and len(str(told.value)) < 600


def test_a_page_that_is_gone_is_reported(monkeypatch):
  def gone(*_):
    raise tfds.download.DownloadError("Failed to get url http://x. HTTP code: 404.")

  monkeypatch.setattr(tfds.download.DownloadManager, "download", gone)
  with pytest.raises(FileNotFoundError, match="could not be downloaded .*HTTP code: 404"):
    tasks("train", questions=f"tfds:{NQ}")


def test_trivia_qa_cannot_be_prepared_without_tensorflow(monkeypatch):
  monkeypatch.setattr(published.importlib.util, "find_spec", lambda name: None)
  with pytest.raises(FileNotFoundError, match="TensorFlow, which has to prepare it, is absent"):
    tasks("train", questions=f"tfds:{TRIVIA}")


def test_files_of_another_format_are_reported(home, monkeypatch):
  prepare_trivia(home, monkeypatch)
  (info,) = home.rglob("dataset_info.json")
  info.write_text(info.read_text().replace("array_record", "tfrecord"))
  with pytest.raises(FileNotFoundError, match="are no ArrayRecord files: run `tfds build trivia"):
    tasks("train", questions=f"tfds:{TRIVIA}")


def test_there_is_no_published_split_out_of_domain_and_no_other_set():
  with pytest.raises(ValueError, match="tfds:.* has no split out_of_domain: evaluate on test"):
    tasks("out_of_domain", questions=f"tfds:{NQ}")
  with pytest.raises(ValueError, match="questions must be one of .*tfds:natural_questions_open"):
    tasks("train", questions="tfds:squad")
  with pytest.raises(ValueError, match="there is no task 'tfds/train/squad/0'"):
    DeepSearch().reset("tfds/train/squad/0")
