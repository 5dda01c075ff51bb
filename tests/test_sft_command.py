"""launch/sft.py makes a folder that launch/train.py can start from."""

import os
import pathlib
import subprocess
import sys

from empg_jax import chat as chats, sharding
from empg_jax.models import folder

ROOT = pathlib.Path(__file__).resolve().parents[1]


def test_it_writes_a_model_and_its_tokenizer(tmp_path):
  settings = {
      "num_steps": 2,
      "fresh.vocabulary": 400,
      "demonstrations.small.episodes": 6,
      "demonstrations.full.episodes": 6,
      "batches.lengths": "(1024,)",
      "batches.tokens": 4096,
      "fresh.model.num_hidden_layers": 1,
      "optimizer.warmup_steps": 1,
  }
  done = subprocess.run(
      [
          sys.executable, str(ROOT / "launch" / "sft.py"), "--config=configs/alfworld.py",
          f"--out={tmp_path / 'model'}", *(f"--config.sft.{k}={v}" for k, v in settings.items()),
      ],
      cwd=ROOT,
      env={**os.environ, "PYTHONPATH": str(ROOT), "TFDS_DATA_DIR": str(tmp_path / "data")},
      capture_output=True,
      text=True,
      timeout=600,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert "step 2/2  loss " in done.stdout
  model = folder.load(tmp_path / "model", sharding.make_mesh())
  chat = chats.load(tmp_path / "model")
  assert model.config.vocab_size == chat.vocab_size
  assert model.config.num_hidden_layers == 1
