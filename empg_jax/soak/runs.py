"""Cheap runs of launch/train.py: a policy of one layer, a few short episodes a step."""

from collections.abc import Mapping
import json
import os
import pathlib
import shutil
import subprocess
import sys
from typing import Any

from safetensors import numpy as safetensors

from empg_jax.io import json_text, paths
from empg_jax.models import folder

_ROOT = pathlib.Path(__file__).resolve().parents[2]

SMALL: Mapping[str, Any] = {
  "rollout.tasks": 2,
  "rollout.group_size": 4,
  "rollout.max_turns": 3,
  "rollout.invalid_penalty": 0.1,  # so that returns differ although such a policy never wins
  "rollout.max_aborted": 1.0,
  "workers.count": 2,
  "workers.timeout_s": 20.0,
  "policy.slots": 8,
  "policy.max_length": 256,
  "policy.max_reply": 12,
  "policy.windows": "(256,)",
  "policy.piece_lengths": "(48,)",
  "pack.lengths": "(256,)",
  "train.lengths": "()",
  "evaluation.tasks": 2,
  "evaluation.every": 5,
  "checkpoint.every": 3,
}


def write_model(out: pathlib.Path) -> None:
  """Writes a model that has the first layer of ALFWorld's tiny policy."""
  home = folder.locate("alfworld-tiny")
  out.mkdir(parents=True, exist_ok=True)
  shutil.copyfile(home / "tokenizer.model", out / "tokenizer.model")
  config = json.loads((home / "config.json").read_text())
  (out / "config.json").write_text(json_text.dumps(config | {"num_hidden_layers": 1}))
  tensors = safetensors.load_file(home / "model.safetensors")
  kept = {name: x for name, x in tensors.items() if ".layers." not in name or ".layers.0." in name}
  safetensors.save_file(kept, out / "model.safetensors")


def command(workdir: paths.Path, model: paths.Path, steps: int, **changes: Any) -> list[str]:
  """The command of such a run; `changes` are config keys with __ for a dot."""
  settings = {**SMALL, "num_steps": steps, "model.path": model}
  settings |= {key.replace("__", "."): value for key, value in changes.items()}
  return [
    sys.executable, str(_ROOT / "empg_jax" / "launch" / "train.py"), "--notensorboard",
    "--config=configs/alfworld.py", f"--workdir={paths.from_root(workdir)}",
    *(f"--config.{key}={value}" for key, value in settings.items()),
  ]  # fmt: skip


def start(arguments: list[str], log: pathlib.Path) -> subprocess.Popen:
  """Starts a command and appends its output to the file `log`.

  Runs with logs in the same folder share their compiled programs.
  """
  environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
  environment.setdefault("JAX_COMPILATION_CACHE_DIR", str(log.parent.absolute() / "compiled"))
  environment.pop("JAX_NUM_CPU_DEVICES", None)
  with log.open("a") as file:
    return subprocess.Popen(
      arguments, cwd=_ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT
    )
