"""A client of Search-R1's retrieval protocol.

POST /retrieve  {"queries": ["words"], "topk": 3, "return_scores": true}
-> {"result": [[{"document": {"id": "0", "contents": "\\"Title\\"\\ntext"}, "score": 1.0}]]}
"""

import functools
from typing import Any
import urllib.parse

import urllib3

from empg_jax.envs._shared import json_files
from empg_jax.envs.deep_search.retrieval import (
  Hit,
  Passage,
  RetrievalFailed,
  parse_contents,
  same_title,
)

TIMEOUT = 30.0  # seconds for an answer
RETRIES = 4
BACKOFF = 0.5  # seconds before the second retry, twice as many before each next one
DOCUMENT_LIMIT = 50  # passages that a document may have
_BUSY = (429, 500, 502, 503, 504)  # statuses after which a retry may succeed
_LARGEST = 16 << 20  # bytes of an answer


class Remote:
  """A `Retriever` over HTTP; it can be pickled, and shared by threads."""

  def __init__(
      self, address: str, *, timeout: float = TIMEOUT, retries: int = RETRIES,
      backoff: float = BACKOFF,
  ):  # fmt: skip
    """The server at `address`, with or without the path /retrieve.

    Raises:
      ValueError: the address has no host, or an invalid port.
    """
    if not _names_a_server(address):
      raise ValueError(f"{address!r} is no server's address: want http://127.0.0.1:8000")
    self._url = address.rstrip("/").removesuffix("/retrieve") + "/retrieve"
    self._timeout, self._retries, self._backoff = timeout, retries, backoff

  def search(self, query: str, limit: int) -> list[Hit]:
    request = {"queries": [query], "topk": limit, "return_scores": True}
    retry = urllib3.Retry(
      self._retries, backoff_factor=self._backoff, status_forcelist=_BUSY,
      allowed_methods=("POST",), redirect=0,
      respect_retry_after_header=False,  # it may say hours
    )  # fmt: skip
    try:
      response = _pool().request(
        "POST", self._url, json=request, timeout=self._timeout, retries=retry,
        preload_content=False,
      )  # fmt: skip
      body = response.read(_LARGEST, decode_content=True)
      response.release_conn()
    except urllib3.exceptions.HTTPError as e:
      raise RetrievalFailed(
        f"{self._url} did not answer ({e}): see whether the search server runs"
      ) from e
    if response.status != 200:
      raise RetrievalFailed(
        f"{self._url} answered {response.status} ({body[:80]!r}): see the search server's log"
      )
    return self._hits(body)[:limit]

  def document(self, title: str) -> list[Passage]:
    """The passages with this title among the first that a search for it finds."""
    wanted = same_title(title)
    found = [hit.passage for hit in self.search(title, DOCUMENT_LIMIT)]
    found = [passage for passage in found if same_title(passage.title) == wanted]
    return sorted(found, key=lambda passage: (len(passage.id), passage.id))

  def _hits(self, body: bytes) -> list[Hit]:
    try:
      (found,) = json_files.value(body)["result"]
      return [_hit(entry) for entry in found]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as e:
      raise RetrievalFailed(
        f"{self._url} answered {body[:80]!r}, which is not Search-R1's form: ask a server of"
        " that protocol, such as launch/serve_search.py"
      ) from e


def _names_a_server(address: str) -> bool:
  try:
    parts = urllib.parse.urlsplit(address)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
  except ValueError:  # a port that is no number, a bracket that does not close
    return False


def _hit(entry: Any) -> Hit:
  """One of the results: with return_scores {"document", "score"}, else the document alone."""
  document = entry.get("document", entry)
  contents = document["contents"]
  if not isinstance(contents, str):
    raise ValueError("contents is no text")
  # Search-R1's own server leaves the id out where its BM25 index holds the documents.
  return Hit(parse_contents(str(document.get("id", "")), contents), float(entry.get("score", 0.0)))


@functools.cache
def _pool() -> urllib3.PoolManager:
  return urllib3.PoolManager(maxsize=64, block=False)
