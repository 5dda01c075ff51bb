"""A server of Search-R1's retrieval protocol (see remote.py) over any retriever."""

import json
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from empg_jax.envs.deep_search.retrieval import Hit, Retriever

# Limits of a request; one beyond them is refused.
MAX_BODY = 1 << 20  # bytes
MAX_QUERIES = 256
MAX_QUERY = 4000  # characters
MAX_TOPK = 100


class _Refused(Exception):
  """A refused request, with the status and the reason."""


def app(retriever: Retriever) -> Starlette:
  """The web application; searches run in threads, so that requests do not queue."""

  async def retrieve(request: Request) -> JSONResponse:
    try:
      queries, topk, scored = _parsed(await _body(request))
    except _Refused as refused:
      status, reason = refused.args
      return JSONResponse({"detail": reason}, status_code=status)
    found = await run_in_threadpool(lambda: [retriever.search(query, topk) for query in queries])
    return JSONResponse({"result": [[_as_json(hit, scored) for hit in hits] for hits in found]})

  return Starlette(routes=[Route("/retrieve", retrieve, methods=["POST"])])


async def _body(request: Request) -> bytes:
  body = b""
  try:
    async for chunk in request.stream():
      body += chunk
      if len(body) > MAX_BODY:
        raise _Refused(413, f"the request is larger than {MAX_BODY} bytes: send fewer queries")
  except ClientDisconnect:
    raise _Refused(400, "the request broke off: send all of it") from None
  return body


def _parsed(body: bytes) -> tuple[list[str], int, bool]:
  """Queries, topk and return_scores."""
  try:
    asked = json.loads(body)
  except (ValueError, RecursionError):
    raise _Refused(400, 'the request is no JSON: send {"queries": ["words"], "topk": 3}') from None
  if not isinstance(asked, dict):
    raise _Refused(400, 'the request is no object: send {"queries": ["words"], "topk": 3}')
  queries, topk = asked.get("queries"), asked.get("topk", 3)
  texts = isinstance(queries, list) and all(isinstance(query, str) for query in queries)
  if not texts or not 1 <= len(queries) <= MAX_QUERIES:
    raise _Refused(400, f"queries must be a list of 1 to {MAX_QUERIES} strings")
  if max(map(len, queries)) > MAX_QUERY:
    raise _Refused(400, f"a query may have {MAX_QUERY} characters, got {max(map(len, queries))}")
  if type(topk) is not int or not 1 <= topk <= MAX_TOPK:
    raise _Refused(400, f"topk must be a whole number from 1 to {MAX_TOPK}, got {str(topk)[:40]}")
  return queries, topk, bool(asked.get("return_scores", False))


def _as_json(hit: Hit, scored: bool) -> dict[str, Any]:
  document = {"id": hit.passage.id, "contents": hit.passage.contents}
  return {"document": document, "score": hit.score} if scored else document
