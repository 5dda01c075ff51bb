"""Exports the model of a run as a Hugging Face folder, with adapters merged into it.

  python launch/export.py --checkpoint=runs/alfworld [--step=best] --out=exported

--checkpoint is a run's workdir, for its newest checkpoint or that of --step, or one of its
checkpoints, such as runs/alfworld/checkpoints/30. The folder has safetensors, config.json,
generation_config.json, the tokenizer and its chat template; transformers reads it, and so does
--config.model.path. The config of a tiny policy names the type seed_oss, which computes the same
as qwen2: for the type qwen2, AutoTokenizer always loads the tokenizer of Qwen2.
"""

from absl import flags

from empg_jax.checkpoint import exporting, trained
from empg_jax.cli import command_line
from empg_jax.config import config as configs
from empg_jax.io import paths
from empg_jax.models import folder

_CHECKPOINT = command_line.define_path("checkpoint", None, "WORKDIR or WORKDIR/checkpoints/STEP")
_STEP = flags.DEFINE_string("step", None, "the checkpoint's, or best; default: the newest")
_OUT = command_line.define_path("out", None, "folder to write the model to")
_DTYPE = flags.DEFINE_enum(
  "dtype", None, exporting.DTYPES, "of the tensors; default: as in training"
)
flags.mark_flags_as_required(["checkpoint", "out"])


def main(argv):
  del argv
  workdir, step = trained.find(_CHECKPOINT.value, trained.step(_STEP.value))
  out, config = paths.of(_OUT.value), configs.read(workdir)
  home = folder.locate(config.model.path)
  if str(out) == config.model.path or not paths.in_bucket(out) and out.resolve() == home.resolve():
    raise ValueError(f"{out} is the model that the run began with: choose another --out.")
  model = trained.load(config, workdir / "checkpoints" / str(step))
  exporting.write(model, home, out, dtype=_DTYPE.value or config.model.dtype)
  print(f"wrote the model of step {step} to {out}")


if __name__ == "__main__":
  command_line.run(main)
