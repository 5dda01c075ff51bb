"""launch/tpu/: its commands run on every host, with existing flags, files and chips."""

import math
import os
import pathlib
import re
import shlex
import subprocess

import pytest
import yaml

from empg_jax.config import config as configs, presets
from empg_jax.plan import chips
from empg_jax.training import microbatch

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDER = ROOT / "launch" / "tpu"
SCRIPTS = sorted(FOLDER.glob("*.sh"))
JOBSET = FOLDER / "jobset.yaml"
NAMES = {"NAME": "empg", "ZONE": "zone", "BUCKET": "gs://bucket", "PROJECT": "project",
         "CLUSTER": "cluster", "IMAGE": "image"}  # fmt: skip


def run(script, argument, tmp_path, **environment):
  """Runs a script with fakes of the cloud's commands; returns their calls."""
  for name in ("gcloud", "xpk"):
    command = tmp_path / name
    command.write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$@" >>"$CALLS"; echo >>"$CALLS"\n')
    command.chmod(0o755)
  calls = tmp_path / "calls"
  calls.write_text("")
  environment |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(calls)}
  done = subprocess.run(
    [str(script), argument], env=environment, capture_output=True, text=True, timeout=60
  )
  return done, calls.read_text()


def train_commands(tmp_path):
  """The commands that check and train, and the flags of both, by file."""
  (slice_,) = yaml.safe_load(JOBSET.read_text().replace("BUCKET", "gs://bucket"))["spec"][
    "replicatedJobs"
  ]
  container = slice_["template"]["spec"]["template"]["spec"]["containers"][0]
  commands = {JOBSET.name: container["command"]}
  for script in SCRIPTS:
    done, calls = run(script, "train", tmp_path, **NAMES)
    assert done.returncode == 0, done.stderr
    found = re.search(r"(bash -c .*?)(?: >| 2>|\n\n)", calls, re.S)
    commands[script.name] = shlex.split(found[1].replace(".venv/bin/", ""))
  return commands


def test_all_start_the_same_run_with_existing_flags_and_keys(tmp_path):
  commands = train_commands(tmp_path)
  assert set(commands) == {"jobset.yaml", "vm.sh", "xpk.sh"}
  first, *others = commands.values()
  assert all(other == first for other in others)
  *bash, script, name, flags = *first[:4], first[4:]
  assert (*bash, name) == ("bash", "-c", "-")
  assert script == 'python launch/check.py "$@" && exec python launch/train.py "$@"'
  given = dict(flag.removeprefix("--").split("=", 1) for flag in flags)
  keys = dict(configs.leaves(configs.load(str(ROOT / given.pop("config")))))
  assert given.pop("workdir") == "gs://bucket/runs/empg"
  assert given == {"config.model.path": "gs://bucket/models/qwen2.5-7b"} and "model.path" in keys


def test_every_host_trains_with_the_data(tmp_path):
  _, calls = run(FOLDER / "vm.sh", "train", tmp_path, **NAMES)
  assert "--worker=all" in calls
  texts = [JOBSET.read_text(), *(run(script, "train", tmp_path, **NAMES)[1] for script in SCRIPTS)]
  source = "".join(path.read_text() for path in (ROOT / "empg_jax" / "envs").rglob("*.py"))
  for name in ("ALFWORLD_DATA", "WEBSHOP_DATA"):
    assert name in source
    assert all(f"/{name.split('_')[0].lower()}" in text for text in texts)
    assert all(name in text for text in texts)


def test_the_job_has_a_pod_for_every_host_and_the_mesh_takes_every_chip():
  (slice_,) = yaml.safe_load(JOBSET.read_text())["spec"]["replicatedJobs"]
  job = slice_["template"]["spec"]
  pod = job["template"]["spec"]
  topology = pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"]
  assert chips.of(f"v5e:{topology}") == chips.CHIPS["v5e"]
  count = math.prod(int(x) for x in topology.split("x"))
  on_host = pod["containers"][0]["resources"]["limits"]["google.com/tpu"]
  assert job["parallelism"] == job["completions"] == count // on_host
  assert presets.MODELS["qwen2.5-7b"].topology == f"v5e:{topology}" and count == 64


@pytest.mark.parametrize("path", [JOBSET, FOLDER / "xpk.sh"], ids=lambda path: path.name)
def test_two_slices_divide_the_batch(path):
  text = re.sub(r"\n#", "", path.read_text())
  config = configs.load(str(ROOT / "configs/alfworld.py:qwen2.5-7b"))
  for key, value in re.findall(r"--config\.([\w.]+)=(\d+)", text):
    section, name = key.split(".")
    assert name in config[section]
    config[section][name] = int(value)
  assert config.mesh.data == 2
  rows = config.rollout.tasks * config.rollout.group_size
  microbatch.check(rows, config.train.size, config.train.minibatches)
  assert config.train.size % (config.mesh.data * config.mesh.fsdp) == 0
  assert config.policy.slots % (config.mesh.data * config.mesh.fsdp) == 0


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_the_files_that_it_names_exist(path):
  for name in re.findall(r"(?<![\w/])(?:launch|configs|empg_jax)/[\w/.]*\w", path.read_text()):
    assert (ROOT / name).exists(), f"{path.name} names {name}"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_unknown_arguments_are_refused(script, tmp_path):
  done, calls = run(script, "fly", tmp_path, **NAMES)
  assert (done.returncode, calls) == (2, "") and done.stderr.startswith("usage: ")
  done, calls = run(script, "train", tmp_path)
  assert done.returncode != 0 and calls == "" and "is not set" in done.stderr
