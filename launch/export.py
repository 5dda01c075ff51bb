"""Writes the model of a run as a Hugging Face folder, adapters merged into it.

  python launch/export.py --checkpoint=runs/alfworld [--step=best] --out=exported

--checkpoint is the workdir of a run, for its newest checkpoint or the one of --step, or one of
its checkpoints, runs/alfworld/checkpoints/30. The folder holds safetensors, config.json,
generation_config.json and the tokenizer, and is read by transformers, and here as
--config.model.path.
"""

import json
import pathlib
import shutil

from absl import flags

from empg_jax import chat as chats, command_line, config as configs, trained
from empg_jax.chat import tokenizer_files
from empg_jax.models import folder

_CHECKPOINT = command_line.define_path("checkpoint", None, "WORKDIR or WORKDIR/checkpoints/STEP")
_STEP = flags.DEFINE_string("step", None, "of the checkpoint, or best; default: the newest")
_OUT = command_line.define_path("out", None, "folder to write the model to")
_DTYPE = flags.DEFINE_string("dtype", None, "of the tensors; by default as they were trained")
flags.mark_flags_as_required(["checkpoint", "out"])


def main(argv):
  del argv
  workdir, step = trained.find(_CHECKPOINT.value, trained.step(_STEP.value))
  out, config = pathlib.Path(_OUT.value), configs.read(workdir)
  home = folder.locate(config.model.path)
  if out.resolve() == home.resolve():
    raise ValueError(f"{out} is the model that the run began with: choose another --out.")
  model = trained.load(config, workdir / "checkpoints" / str(step))
  source = folder.open_source(home)
  folder.save(model, out, dtype=_DTYPE.value or config.model.dtype, config=source.config)
  tokenizer_files.copy(home, out)
  save_generation_config(home, out, source.config)
  print(f"wrote the model of step {step} to {out}")


def save_generation_config(home: pathlib.Path, out: pathlib.Path, config: dict) -> None:
  """The model's own, or what ends a reply."""
  if (home / "generation_config.json").is_file():
    shutil.copyfile(home / "generation_config.json", out / "generation_config.json")
    return
  ids = {name: x for name, x in config.items() if name.endswith("token_id") and x is not None}
  ids["eos_token_id"] = chats.load(home).end_id
  (out / "generation_config.json").write_text(json.dumps(ids, indent=2) + "\n")


if __name__ == "__main__":
  command_line.run(main)
