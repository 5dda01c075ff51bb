"""Says what a run takes on TPUs that are not there: memory, operations, exchanges, time.

  pip install 'jax[tpu]'      brings the compiler; no TPU is needed
  python launch/plan.py --config=configs/alfworld.py:qwen2.5-7b --topology=v5e:8x8

Every program of the run is compiled for the topology by TPU's own compiler. Memory and
exchanges are what it says; the times are a roofline's, of the chip's published peaks.
"""

import pathlib

import jax
from absl import flags
from ml_collections import config_flags

from empg_jax import command_line, json_text, sharding, words
from empg_jax.plan import chips, compiling, fitting, programs, report, shapes, topology

PROGRAMS = {
    "train": programs.train,
    "score": programs.reference,
    "turn": programs.turn,
    "reshard": programs.reshard,
}

_CONFIG = config_flags.DEFINE_config_file("config", None, "configs/FILE.py[:PRESET]")
_TOPOLOGY = flags.DEFINE_string("topology", None, "KIND:SHAPE, as v5p:4x4x8", required=True)
_SLICES = flags.DEFINE_integer("slices", 1, "slices of it, over the data center", lower_bound=1)
_PROGRAMS = flags.DEFINE_multi_enum(
    "program", list(PROGRAMS), list(PROGRAMS), "what is compiled; may be repeated"
)
_QUICK = flags.DEFINE_bool("quick", False, "less of the compiler's effort")
_FIND_BATCH = flags.DEFINE_bool("find-batch", False, "look for the largest microbatch that fits")
_JSON = command_line.define_path("json", None, "file to write the results to")


def main(argv):
  del argv
  command_line.check_file(_JSON.value)
  topology.prepare()
  config, chip = _CONFIG.value, chips.of(_TOPOLOGY.value)
  preset = flags.FLAGS["config"].config_filename.partition(":")[2]
  shape = shapes.of(config.model.path, preset)
  mesh = topology.mesh(topology.devices(_TOPOLOGY.value, _SLICES.value), **config.mesh)
  sharding.check_rows("train.size", config.train.size, mesh.size, **config.mesh)
  with jax.set_mesh(mesh):
    sharding.check_heads(shape.num_key_value_heads)
  axes = ", ".join(f"{name} {size}" for name, size in mesh.shape.items())
  print(f"{config.model.path or preset} on {_SLICES.value} x {_TOPOLOGY.value}: {axes}", flush=True)

  def train_step(config):
    program = programs.train(config, shape, mesh)
    return compiling.measure(program, mesh, chip, quick=True)

  least = mesh.shape[sharding.DATA] * mesh.shape[sharding.FSDP]
  reports = []
  for name in _PROGRAMS.value:
    traced = PROGRAMS[name](config, shape, mesh)
    try:
      reports.append(compiling.measure(traced, mesh, chip, quick=_QUICK.value))
    except compiling.TooLarge as error:
      advice = "lower config.policy.slots or config.policy.max_length, or take more chips"
      if name in ("train", "score"):
        advice = fitting.advice(config, train_step, least)
      raise ValueError(f"The {traced.name} does not fit: {error}; {advice}.") from error
    print(report.show(reports[-1], chip), flush=True)
  if _FIND_BATCH.value:
    rows = fitting.largest(config, train_step, least)
    print(f"largest microbatch that fits: {words.count(rows, 'row')}")
  if _JSON.value:
    results = {"topology": _TOPOLOGY.value, "slices": _SLICES.value, "mesh": dict(mesh.shape)}
    results["programs"] = report.values(reports, chip)
    text = json_text.dumps(results, indent=2) + "\n"
    pathlib.Path(_JSON.value).write_text(text, encoding="utf-8")


if __name__ == "__main__":
  command_line.run(main)
