"""launch/benchmark.py measures every suite, as text and as JSON."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow
ROOT = pathlib.Path(__file__).resolve().parents[1]
MODEL = ("--repeats=1", "--layers=1", "--width=128", "--vocab=64", "--dtype=float32")
SPREAD = {"median", "min", "max"}


def benchmark(tmp_path, suite, *flags):
  """The text and the results of a run."""
  file = tmp_path / "results.json"
  done = run(f"--suite={suite}", f"--json={file}", *flags)
  assert done.returncode == 0, done.stderr
  report = json.loads(file.read_text())
  assert report["suite"] == suite
  assert report["flags"]["repeats"] == 1
  assert {"cores", "jax", "load_1m"} <= set(report["host"])
  return done.stdout, report["results"]


def run(*flags):
  env = {name: value for name, value in os.environ.items() if name != "ALFWORLD_DATA"}
  return subprocess.run(
    [sys.executable, "launch/benchmark.py", *flags],
    cwd=ROOT, env=env | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
  )  # fmt: skip


def test_the_update_is_timed_and_its_memory_reported(tmp_path):
  shape = ("--rows=4", "--prompt=4", "--completion=12", "--sizes=2,4", "--matmul=64", "--remat")
  text, results = benchmark(tmp_path, "step", *MODEL, *shape)
  assert results["tokens"] == 4 * 16
  assert results["best"]["float32"] in (2, 4)
  assert results["machine"]["float32"].keys() == {"gflop_per_s", "gflop_per_cpu_s"}
  operations = 6e-9 * results["parameters"] * results["tokens"]
  assert abs(results["floor"]["float32"]["gflop"] - operations) < 1e-12
  assert [run["size"] for run in results["runs"]] == [2, 4]
  for measured in results["runs"]:
    assert set(measured["cpu_s"]) == set(measured["wall_s"]) == SPREAD
    xla = measured["xla"]
    held = xla["arguments_mib"] + xla["outputs_mib"] - xla["aliased_mib"]
    assert abs(xla["total_mib"] - held - xla["temporaries_mib"]) < 1e-6
    assert xla["aliased_mib"] > 0.9 * xla["outputs_mib"], "the state is donated"
  assert "float32" in text and "GFLOP/s" in text


def test_long_replies_and_episodes_are_timed(tmp_path):
  shape = ("--rows=2", "--prompt=4", "--reply=3", "--turns=2", "--observation=3", "--action=2",
           "--slots=4", "--episodes=6")  # fmt: skip
  text, results = benchmark(tmp_path, "rollout", *MODEL, *shape)
  assert results["float32"]["long"]["tokens"] == 2 * 3
  episodes = results["float32"]["episodes"]
  assert (episodes["tokens"], episodes["length"]) == (2 * 2 * 2, 2 * 5)
  for measured in (episodes["living_cache"], episodes["whole_again"]):
    assert measured["tokens_per_s"] > 0
  mixed = results["float32"]["mixed"]
  assert mixed.keys() == {"instant", "latency", "shared"}
  for measured in mixed.values():
    assert measured["tokens"] == mixed["instant"]["tokens"] > 6
    assert 0 < measured["utilisation"] <= 1 and measured["idle_s"] >= 0
  assert "living cache" in text and "replies of random length" in text


def test_the_environments_are_timed(tmp_path):
  text, results = benchmark(tmp_path, "envs", "--repeats=1", "--games=2", "--turns=3")
  assert set(results) == {"full"}
  assert 0 < results["full"]["steps"] <= 6
  for what in ("reset_ms", "again_ms", "step_ms"):
    assert set(results["full"][what]) == SPREAD
  assert "full" in text


def test_token_statistics_are_timed_plain_and_in_chunks(tmp_path):
  shape = ("--rows=2", "--completion=8", "--width=128", "--vocabs=96", "--dtype=float32")
  text, results = benchmark(tmp_path, "loss", "--repeats=1", *shape)
  ways = [(run["gradient"], run["way"]) for run in results["runs"]]
  assert ways == [(g, way) for g in (False, True) for way in ("plain", "chunked")]
  for measured in results["runs"]:
    assert set(measured["cpu_s"]) == SPREAD and measured["vocab"] == 96
  if results["tpu"]:
    assert [x["way"] for x in results["tpu"]] == ["plain", "chunked", "Pallas"]
  else:
    assert "Not compiled for a TPU: There is no TPU compiler here" in text


def test_a_released_models_shape_is_taken_in_every_suite():
  show = """
from absl import flags
from empg_jax.launch import benchmark as b
from empg_jax.plan import shapes
for suite in ("step", "rollout", "loss"):
  flags.FLAGS(["", f"--suite={suite}", "--model=qwen2.5-1.5b", "--remat", "--dtype=bfloat16"])
  given = b.arguments()
  print(suite, given.get("config") == shapes.KNOWN["qwen2.5-1.5b"], given.get("remat"))
print(given["width"], given["vocabs"], {*given["dtypes"]})
"""
  done = subprocess.run([sys.executable, "-c", show], cwd=ROOT, capture_output=True, text=True)
  assert done.stdout.splitlines() == [
    "step True True", "rollout True None", "loss False None", "1536 [151936] {'bfloat16'}",
  ], done.stderr  # fmt: skip


def test_a_mistake_is_reported_in_one_line():
  for flag in ("--suite=speed", "--width=200", "--sizes=1,x", "--suite=loss --vocabs=0"):
    done = run(*flag.split())
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
