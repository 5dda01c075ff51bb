"""Writes the model of a run as a Hugging Face folder, adapters merged into it.

  python launch/export.py --checkpoint=runs/alfworld --out=exported

--checkpoint is the workdir of a run, for its newest checkpoint, or one of its checkpoints,
runs/alfworld/checkpoints/30. The folder holds safetensors, config.json, generation_config.json
and the tokenizer, and is read by transformers, and here as --config.model.path.
"""

import json
import pathlib
import shutil

import jax
from absl import flags

from empg_jax import chat as chats, checkpoint, command_line, config as configs, sharding
from empg_jax.chat import tokenizer_files
from empg_jax.models import folder, lora

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "WORKDIR or WORKDIR/checkpoints/STEP")
_OUT = flags.DEFINE_string("out", None, "folder to write the model to")
_DTYPE = flags.DEFINE_string("dtype", None, "of the tensors; by default as they were trained")
flags.mark_flags_as_required(["checkpoint", "out"])


def main(argv):
  del argv
  workdir, step = find(pathlib.Path(_CHECKPOINT.value))
  out, config = pathlib.Path(_OUT.value), configs.read(workdir)
  home = folder.locate(config.model.path)
  if out.resolve() == home.resolve():
    raise ValueError(f"{out} is the model that the run began with: choose another --out.")
  model = read(config, workdir / "checkpoints" / str(step))
  source = folder.open_source(home)
  folder.save(model, out, dtype=_DTYPE.value or config.model.dtype, config=source.config)
  tokenizer_files.copy(home, out)
  save_generation_config(home, out, source.config)
  print(f"wrote the model of step {step} to {out}")


def find(path: pathlib.Path) -> tuple[pathlib.Path, int]:
  """The workdir of a run and the step of one of its checkpoints."""
  if path.parent.name == "checkpoints" and path.is_dir() and path.name.isdigit():
    return path.parent.parent, int(path.name)
  there = [entry.name for entry in path.glob("checkpoints/*")]
  steps = [int(name) for name in there if name.isdigit()]
  if not steps:
    raise FileNotFoundError(
        f"There is no checkpoint in {path}: give the workdir of a run, or WORKDIR/checkpoints/STEP."
    )
  return path, max(steps)


def read(config, step: pathlib.Path):
  """The trained model of a checkpoint, as one that stands alone."""
  mesh, source = sharding.make_mesh(), folder.open_source(config.model.path)
  base, trained = None, folder.describe(source, mesh, dtype=config.model.dtype)
  if config.lora.rank:
    base = folder.load(mesh=mesh, **config.model)
    create = lambda key: lora.create(base, key, **config.lora)
    shapes = jax.eval_shape(create, jax.random.key(0))
    at = lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)
    trained = jax.tree.map(at, shapes, sharding.shardings(shapes, mesh))
  return lora.merge(base, checkpoint.read_part(step, {"model": trained})["model"])


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
