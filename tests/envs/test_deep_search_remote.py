"""A search server and its client: the same results as in process, and clear failures."""

import asyncio
import concurrent.futures
import contextlib
import http.server
import json
import os
import pathlib
import pickle
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import urllib3

from empg_jax.envs.deep_search import DeepSearch, corpus, remote, server, tasks
from empg_jax.envs.deep_search.remote import Remote
from empg_jax.envs.deep_search.retrieval import Hit, Passage, RetrievalFailed
from empg_jax.rollout.seat import Seat

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVE = [sys.executable, str(ROOT / "launch" / "serve_search.py")]
LINES = [
  {"id": i, "contents": f'"Town {i // 2}"\nTown {i // 2} has {i} bridges over the river.'}
  for i in range(40)
]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
  """The launch script over a small file: its address, and the corpus in process."""
  path = tmp_path_factory.mktemp("served") / "corpus.jsonl"
  path.write_text("\n".join(map(json.dumps, LINES)))
  process = subprocess.Popen(
    [*SERVE, "--port=0", f"--corpus={path}"], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    stdout=subprocess.PIPE, text=True,
  )  # fmt: skip
  line = process.stdout.readline()
  assert line.startswith("40 passages on http://127.0.0.1:"), line
  yield line.split()[-1], corpus.from_file(path)
  process.terminate()
  process.communicate(timeout=60)


def test_results_over_http_equal_those_in_process(served):
  address, local = served
  asked = Remote(address)
  for query in ("bridges", "town 7", "river 31 bridges", "nothing?"):
    assert asked.search(query, 5) == local.search(query, 5)
  assert asked.document("town 3") == local.document("TOWN 3 ") != []
  assert [passage.id for passage in local.document("Town 3")] == ["6", "7"]
  assert asked.document("Town 99") == []


def test_an_episode_over_http_is_the_one_in_process(served, tmp_path, monkeypatch):
  monkeypatch.setenv("DEEP_SEARCH_DATA", str(tmp_path))
  (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, LINES)))
  actions = ("<search>bridges of town 4</search>", "<visit>Town 4</visit>", "<answer>9</answer>")

  def told(env):
    env.reset(tasks("test")[0])
    return [env.step(action) for action in actions]

  assert told(DeepSearch(corpus=served[0])) == told(DeepSearch(corpus="files"))


def test_64_requests_at_the_same_time_are_answered(served):
  address, local = served
  asked = Remote(address)
  with concurrent.futures.ThreadPoolExecutor(64) as pool:
    found = list(pool.map(lambda i: asked.search(f"town {i % 20}", 3), range(256)))
  assert found == [local.search(f"town {i % 20}", 3) for i in range(256)]


@pytest.mark.parametrize(
  ("body", "status", "reason"),
  [
    (b"{", 400, "the request is no JSON"),
    (b"[" * 100_000, 400, "the request is no JSON"),
    (b"[]", 400, "the request is no object"),
    (b'{"queries": "x"}', 400, "queries must be a list of 1 to 256 strings"),
    (b'{"queries": []}', 400, "queries must be a list of 1 to 256 strings"),
    (b'{"queries": ["x"], "topk": 0}', 400, "topk must be a whole number from 1 to 100, got 0"),
    (b'{"queries": ["x"], "topk": true}', 400, "topk must be a whole number"),
    (json.dumps({"queries": ["x" * 4001]}).encode(), 400, "may have 4000 characters, got 4001"),
    (b" " * (server.MAX_BODY + 1), 413, "larger than 1048576 bytes"),
  ],
)
def test_a_refused_request_has_a_reason(served, body, status, reason):
  response = urllib3.request("POST", f"{served[0]}/retrieve", body=body)
  assert response.status == status and reason in response.json()["detail"]


def test_a_client_that_disconnects_causes_no_error(served):
  scope = {
    "type": "http",
    "method": "POST",
    "path": "/retrieve",
    "query_string": b"",
    "headers": [],
  }
  sent = []

  async def receive():
    return {"type": "http.disconnect"}

  async def send(message):
    sent.append(message)

  asyncio.run(server.app(served[1])(scope, receive, send))
  assert sent[0]["status"] == 400 and b"the request broke off" in sent[1]["body"]


def test_a_port_that_is_taken_is_reported(served):
  port = served[0].rpartition(":")[2]
  done = subprocess.run(
    [*SERVE, f"--port={port}"], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    capture_output=True, text=True,
  )  # fmt: skip
  assert done.returncode == 1
  assert f"error: cannot listen on 127.0.0.1, port {port} (Address already" in done.stderr
  assert done.stderr.count("\n") == 1


def test_without_scores_the_documents_stand_alone(served):
  response = urllib3.request("POST", f"{served[0]}/retrieve", json={"queries": ["town 4", "zz"]})
  first, second = response.json()["result"]
  assert first[0]["contents"].startswith('"Town 4"\n') and len(first) == 3 and second == []


@contextlib.contextmanager
def stub(*answers):
  """A server that gives these answers in turn, and its address.

  An answer is (status, body) or (status, body, headers), or seconds to wait before none.
  """
  left = list(answers)

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
      # Unread bytes would have the system reset the connection, and the answer be lost.
      self.rfile.read(int(self.headers["Content-Length"]))
      answer = left.pop(0) if len(left) > 1 else left[0]
      if isinstance(answer, float):
        time.sleep(answer)
        return
      status, body, *headers = answer
      self.send_response(status)
      for header in ({"Content-Length": str(len(body))} | dict(*headers)).items():
        self.send_header(*header)
      self.end_headers()
      self.wfile.write(body)

    def log_message(self, *_):
      pass

  listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
  thread = threading.Thread(target=listening.serve_forever)
  thread.start()
  try:
    yield f"http://127.0.0.1:{listening.server_address[1]}"
  finally:
    listening.shutdown()
    listening.server_close()
    thread.join()


DOCUMENT = {"id": "5", "contents": '"T"\nx'}
GOOD = json.dumps({"result": [[{"document": DOCUMENT, "score": 2}]]}).encode()


def test_a_busy_server_is_retried_regardless_of_retry_after():
  start = time.monotonic()
  with stub((503, b"", {"Retry-After": "20"}), (500, b"oops"), (200, GOOD)) as address:
    (hit,) = Remote(address, backoff=0.01).search("x", 3)
  assert time.monotonic() - start < 15
  assert (hit.passage.title, hit.passage.text, hit.score) == ("T", "x", 2.0)


def test_documents_without_an_id_are_search_r1s_too():
  document = {"title": "T", "text": "x", "contents": '"T"\nx'}
  body = json.dumps({"result": [[{"document": document, "score": 2.0}]]}).encode()
  with stub((200, body)) as address:
    assert Remote(address).search("x", 3) == [Hit(Passage("", "T", "x"), 2.0)]


@pytest.mark.parametrize(
  ("answer", "sentence"),
  [
    ((503, b""), "did not answer"),
    (3.0, "did not answer"),
    ((404, b"no such page"), r"answered 404 \(b'no such page'\): see the search server's log"),
    ((200, b"<html>"), "which is not Search-R1's form"),
    ((200, b'{"result": []}'), "which is not Search-R1's form"),
    ((200, b'{"result": [[{"id": 1, "contents": null}]]}'), "which is not Search-R1's form"),
    ((200, b'{"result": [["x"]]}'), "which is not Search-R1's form"),
    ((200, b'{"result": [[[]]]}'), "which is not Search-R1's form"),
    ((200, GOOD.replace(b": 2", b": 1" + b"0" * 400)), "which is not Search-R1's form"),
    ((200, GOOD.replace(b"T", rb"\ud800")), "which is not Search-R1's form"),
    ((200, b"[" * 100_000), "which is not Search-R1's form"),
    ((200, GOOD[:-9]), "which is not Search-R1's form"),
    ((200, GOOD, {"Content-Length": "999"}), "did not answer"),  # and closes
    ((200, b"x" * 99, {"Content-Encoding": "gzip"}), "did not answer"),
    ((200, b"\xff" * 99), "which is not Search-R1's form"),
    ((200, b'"' + b" " * remote._LARGEST + b'"'), "which is not Search-R1's form"),
    ((302, b"", {"Location": "http://127.0.0.1:1/"}), "did not answer|answered 302"),
  ],
)
def test_a_server_that_fails_is_reported(answer, sentence):
  with stub(answer) as address:
    with pytest.raises(RetrievalFailed, match=sentence):
      Remote(address, timeout=1.0, retries=1, backoff=0.01).search("x", 3)


def test_a_server_that_is_not_there_is_reported():
  with socket.create_server(("127.0.0.1", 0)) as free:
    address = f"http://127.0.0.1:{free.getsockname()[1]}"
  with pytest.raises(RetrievalFailed, match="did not answer .*: see whether the search server"):
    Remote(address, retries=1, backoff=0.01).search("x", 3)


def test_after_garbage_the_same_server_is_asked_and_answers():
  oversized = (200, b"[" * (remote._LARGEST + 1))
  with stub(oversized, (200, b"?"), (200, GOOD)) as address:
    asked = Remote(address, retries=1, backoff=0.01)
    for _ in range(2):
      with pytest.raises(RetrievalFailed, match="not Search-R1's form"):
        asked.search("x", 3)
    assert len(asked.search("x", 3)) == 1


def test_an_address_must_be_one():
  wrong = ("http://", "ftp://host", "127.0.0.1:8000", "http://[::1", "http://host:x", "http://h:0")
  for address in wrong:
    with pytest.raises(ValueError, match="is no server's address: want http://127.0.0.1:8000"):
      Remote(address)


class Talk:
  """A chat whose every reply searches."""

  end_id = 0

  def opening(self, observation):
    return [1]

  def following(self, observation, ended):
    return [1]

  def text(self, ids):
    return "<search>x</search>"

  def action(self, text):
    return text


def test_a_failing_server_aborts_the_episode_and_is_no_wrong_answer():
  with stub((404, b"gone")) as address:
    env = DeepSearch(corpus=address)
    seat = Seat(Talk(), lambda: env, max_length=9, max_reply=1, max_turns=9, invalid_penalty=0.0)
    seat.begin(tasks("test")[0], 0, 0)
    assert seat.hear() is None
    seat.reply(np.zeros(1, np.int32), np.zeros(1, np.float32), np.zeros(1, np.float32))
    episode = seat.hear()
  assert episode.ended == "aborted" and not episode.success
  assert episode.info["error"].startswith("RetrievalFailed: http://127.0.0.1")
  assert pickle.loads(pickle.dumps(env)).close() is None
