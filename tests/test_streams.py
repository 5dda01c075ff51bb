"""A command prints to any terminal and into any pipe."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]

SCRIPT = """
import os, socket, sys
from empg_jax.io import streams

def written():
  for _ in range(10_000):
    print("some text", flush=True)

def at_the_end():
  print("some text")
  sys.stdin.read()  # until the reader has left
  print("more")

def an_error():
  at_the_end()
  sys.exit("error: the loss is NaN")

def to_stderr():
  print("some text", flush=True)
  sys.stdin.read()
  for _ in range(10_000):
    print("more", file=sys.stderr)

def another_pipe():
  print("some text", flush=True)
  here, there = socket.socketpair()
  there.close()
  here.send(b"x")

def text():
  print("caf\\u00e9 \\u6771\\u4eac \\udcff" + input())

with streams.for_any_reader():
  CALL()
  sys.exit(0)
"""


def start(call, stderr=subprocess.PIPE, **environment):
  return subprocess.Popen(
    [sys.executable, "-c", SCRIPT.replace("CALL", call)],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
    cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""} | environment,
  )  # fmt: skip


@pytest.mark.parametrize(
  ("call", "code", "said"),
  [
    ("written", 141, b""),
    ("at_the_end", 141, b""),
    ("an_error", 1, b"error: the loss is NaN"),
    ("to_stderr", 141, b""),
  ],
)
def test_a_pipe_closed_by_its_reader_ends_the_command_silently(call, code, said):
  with start(call, subprocess.STDOUT if call == "to_stderr" else subprocess.PIPE) as process:
    if call != "at_the_end" and call != "an_error":
      assert process.stdout.readline() == b"some text\n"
    process.stdout.close()
    process.stdin.close()
    left = process.stderr.read() if process.stderr else b""
    assert process.wait(60) == code
  assert said in left and (said or not left)


def test_another_broken_pipe_is_a_bug():
  with start("another_pipe") as process:
    assert b"BrokenPipeError" in process.communicate(timeout=60)[1]
  assert process.returncode == 1


def test_a_pipe_that_is_read_to_its_end_changes_nothing():
  with start("written") as process:
    assert process.communicate(timeout=60) == (b"some text\n" * 10_000, b"")
  assert process.returncode == 0


def test_a_terminal_without_the_characters_shows_their_escapes():
  for encoding, shown in (
    ("ascii", "caf\\xe9 \\u6771\\u4eac \\udcffa"),
    ("utf-8", "caf\u00e9 \u6771\u4eac \\udcffa"),
  ):
    with start("text", PYTHONIOENCODING=encoding) as process:
      out, error = process.communicate(b"a\n", timeout=60)
    assert (out.decode(), error, process.returncode) == (f"{shown}\n", b"", 0)
  with start("text", PYTHONIOENCODING="ascii") as process:
    out, error = process.communicate("\u00e9\n".encode(), timeout=60)
  assert error == b"" and process.returncode == 0


@pytest.mark.parametrize("script", sorted((ROOT / "launch").glob("*.py")), ids=lambda p: p.stem)
def test_every_command_handles_closed_pipes(script):
  assert "command_line.run(main" in script.read_text()


def test_the_help_of_a_command_can_be_piped():
  for flag in ("-h", "--help"):
    command = [sys.executable, str(ROOT / "launch" / "play.py"), flag]
    done = subprocess.run(
      command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"},
      capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("Plays a few episodes") and "--episodes: how many" in done.stdout
    assert "None" not in done.stdout
