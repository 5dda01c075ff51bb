"""Serves a corpus with Search-R1's retrieval protocol, for agents in other processes or hosts.

  python launch/serve_search.py                                     the embedded corpus
  python launch/serve_search.py --corpus=wiki-18.jsonl --port=8001

The first prints "17,460 passages on http://127.0.0.1:8000"; --config.env.corpus of
configs/deep_search.py takes that address. There is no authentication: choose another --host only
in a network where everyone may search.
"""

import socket

from absl import flags
import uvicorn

from empg_jax.cli import command_line
from empg_jax.envs._shared import copies
from empg_jax.envs.deep_search import corpus as corpora, server
from empg_jax.io import words

_CORPUS = command_line.define_path("corpus", "embedded", '"embedded", "files" or a JSONL file')
_HOST = flags.DEFINE_string("host", "127.0.0.1", "address to listen on")
_PORT = flags.DEFINE_integer("port", 8000, "0 for any free one", lower_bound=0, upper_bound=65535)

MAX_REQUESTS = 512  # at the same time; others get the status 503, and clients retry


def main(argv):
  del argv
  name = _CORPUS.value
  known = name in corpora.CORPORA
  corpus = corpora.corpus(name) if known else corpora.from_file(copies.local(name).resolve())
  listening = _listen(_HOST.value, _PORT.value)
  config = uvicorn.Config(server.app(corpus), log_level="warning", limit_concurrency=MAX_REQUESTS)
  host, port = listening.getsockname()[:2]
  print(f"{words.count(len(corpus), 'passage')} on http://{host}:{port}", flush=True)
  uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
  family = socket.AF_INET6 if ":" in host else socket.AF_INET
  try:
    return socket.create_server((host, port), family=family)
  except OSError as e:
    raise OSError(
      f"cannot listen on {host}, port {port} ({e.strerror}): give another --port or --host"
    ) from e


if __name__ == "__main__":
  command_line.run(main)
