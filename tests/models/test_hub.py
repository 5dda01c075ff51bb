"""Models by name from the Hugging Face hub, with a local server of its protocol."""

import errno
import hashlib
import http.server
import json
import pathlib
import threading
import urllib.parse

from huggingface_hub import constants, file_download
import pytest

from empg_jax.cli import command_line
from empg_jax.models import fetching, folder

SHIPPED = folder.locate("alfworld-tiny")
COMMIT, OLDER = "a" * 40, "b" * 40


class Hub(http.server.BaseHTTPRequestHandler):
  """The hub's answers about one model, lab/tiny, with a branch, a tag and files nobody reads."""

  files: dict[str, bytes] = {}
  refused: tuple[int, str] | None = None  # status and error code for all requests
  sent: list[str] = []

  def do_HEAD(self):
    self.do_GET()

  def do_GET(self):
    path = urllib.parse.unquote(urllib.parse.urlparse(self.path).path).strip("/").split("/")
    if self.refused:
      return self.answer(self.refused[0], b"{}", {"X-Error-Code": self.refused[1]})
    revisions = {"main": COMMIT, "v1": OLDER, COMMIT: COMMIT, OLDER: OLDER}
    match path:
      case ["api", "models", "lab", "tiny", *rest] if rest[:1] in ([], ["revision"], ["tree"]):
        if (name := rest[1] if rest else "main") not in revisions:
          return self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        entries = [
          {"type": "file", "path": name, "size": len(data), "oid": tag(data), "rfilename": name}
          for name, data in self.files.items()
        ]
        about = {"id": "lab/tiny", "sha": revisions[name], "siblings": entries}
        return self.answer(200, json.dumps(entries if rest[:1] == ["tree"] else about).encode())
      case ["lab", "tiny", "resolve", commit, *name] if "/".join(name) in self.files:
        data = self.files["/".join(name)]
        if self.command == "GET":
          self.sent.append("/".join(name))
        return self.answer(200, data, {"ETag": f'"{tag(data)}"', "X-Repo-Commit": commit})
    return self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

  def answer(self, status, body, headers=()):
    self.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **dict(headers)}.items():
      self.send_header(name, value)
    self.end_headers()
    if self.command == "GET":
      self.wfile.write(body)

  def log_message(self, *_):
    pass


def tag(data):
  return hashlib.sha1(data).hexdigest()


@pytest.fixture
def hub(tmp_path, monkeypatch):
  """The hub's class, whose attributes say what it has and answers."""
  server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  address = f"http://127.0.0.1:{server.server_port}"
  for name, value in {
    "ENDPOINT": address, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": False,
    "HUGGINGFACE_CO_URL_TEMPLATE": address + "/{repo_id}/resolve/{revision}/{filename}",
  }.items():  # fmt: skip
    monkeypatch.setattr(constants, name, value)
  files = {path.name: path.read_bytes() for path in SHIPPED.iterdir()}
  unread = dict.fromkeys(("README.md", "pytorch_model.bin", "onnx/model.safetensors"), b"unread")
  monkeypatch.setattr(Hub, "files", files | unread)
  monkeypatch.setattr(Hub, "sent", [])
  fetching._from_hub.cache_clear()
  yield Hub
  fetching._from_hub.cache_clear()
  server.shutdown()
  server.server_close()


def test_only_needed_files_are_fetched_and_once(hub):
  home = folder.locate("lab/tiny")
  assert home.name == COMMIT
  read = {path.name for path in SHIPPED.iterdir()} - {"README.md"}
  assert sorted(hub.sent) == sorted(read)
  for name in read:
    assert (home / name).read_bytes() == (SHIPPED / name).read_bytes()
  assert folder.chat("lab/tiny").vocab_size == folder.chat(SHIPPED).vocab_size
  fetching._from_hub.cache_clear()  # as another process of this host
  hub.sent.clear()
  assert folder.locate("lab/tiny") == home and hub.sent == []


def test_each_revision_has_its_own_folder(hub):
  assert folder.locate("lab/tiny@v1").name == OLDER
  assert folder.locate(f"lab/tiny@{COMMIT}").name == COMMIT


def test_a_model_in_shards_is_fetched_by_its_index(hub):
  hub.files["model-00001-of-00001.safetensors"] = hub.files.pop("model.safetensors")
  hub.files["model-unread.safetensors"] = b"unread"
  places = dict(weight_map={"x": "model-00001-of-00001.safetensors"})
  hub.files["model.safetensors.index.json"] = json.dumps(places).encode()
  home = folder.locate("lab/tiny")
  names = {path.name for path in home.iterdir()}
  assert "model-00001-of-00001.safetensors" in names and "model-unread.safetensors" not in names


def test_a_gguf_file_is_fetched_if_it_is_the_only_one(hub):
  Hub.files = {"model.gguf": b"GGUF", "README.md": b""}
  assert folder.locate("lab/tiny").name == "model.gguf"


def test_of_several_gguf_files_none_is_fetched(hub):
  Hub.files = {"q4.gguf": b"GGUF", "q8.gguf": b"GGUF"}
  with pytest.raises(FileNotFoundError, match="hf download lab/tiny FILE.gguf --local-dir tiny"):
    folder.locate("lab/tiny")
  assert hub.sent == []


def test_weights_are_not_fetched_where_they_are_not_needed(hub):
  with fetching.without_weights():
    home = folder.locate("lab/tiny")
    assert folder.open_source("lab/tiny").config and folder.chat("lab/tiny")
  assert "model.safetensors" not in hub.sent
  assert folder.locate("lab/tiny") == home and "model.safetensors" in hub.sent


@pytest.mark.parametrize(
  "name, refused, message",
  [
    ("lab/none", None, "There is no folder lab/none, and the Hugging Face hub has no such model"),
    ("lab/tiny@v2", None, "lab/tiny has no revision v2 on the Hugging Face hub"),
    ("lab/tiny", (403, "GatedRepo"), "lab/tiny is gated .* accept its terms on http://.*/lab/tiny"),
    (
      "lab/tiny",
      (500, ""),
      "the Hugging Face hub cannot be reached .*: where it can be, hf download",
    ),
  ],
)
def test_a_refusal_of_the_hub_is_reported_in_one_line(hub, monkeypatch, name, refused, message):
  monkeypatch.setattr(Hub, "refused", refused)
  with pytest.raises(FileNotFoundError, match=message) as error:
    folder.locate(name)
  assert command_line.is_for_the_user(error.value) and "\n" not in str(error.value)


def test_offline_the_cache_is_used_and_a_missing_model_is_reported_in_one_line(hub, monkeypatch):
  home = folder.locate("lab/tiny")
  fetching._from_hub.cache_clear()
  monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
  assert folder.locate("lab/tiny") == home
  with pytest.raises(FileNotFoundError, match="hf download lab/other --local-dir other, and give"):
    folder.locate("lab/other")


def test_a_full_disk_is_reported_in_one_line_for_a_fetch(hub, monkeypatch):
  def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")

  monkeypatch.setattr(file_download, "http_get", full)
  with pytest.raises(
    OSError, match="the disk is full: lab/tiny has no room in .*: *|HF_HOME"
  ) as error:
    folder.locate("lab/tiny")
  assert command_line.is_for_the_user(error.value)


def test_a_folder_of_that_name_comes_first(hub, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  pathlib.Path("lab").mkdir()
  pathlib.Path("lab/tiny").symlink_to(SHIPPED)
  assert folder.locate("lab/tiny") == pathlib.Path("lab/tiny") and hub.sent == []
