"""Plans a run for TPUs or GPUs that are not there: memory, operations, communication, time.

  pip install 'jax[tpu]'      installs the compiler for TPUs; no TPU is needed
  pip install 'jax[cuda13]'   installs the one for GPUs, 4.6 GB; no GPU is needed
  python launch/plan.py --config=configs/alfworld.py:qwen2.5-7b --topology=v5e:8x8
  python launch/plan.py --config=configs/alfworld.py:qwen2.5-7b-h100x8 --topology=h100:8

The hardware's own compiler compiles every program of the run for the topology. Memory and
communication are the compiler's figures; times are a roofline from the chip's published peaks. If
a program does not fit beside all that the run keeps in memory, the script names the cheapest
change that fits, and ends with exit code 1. GPUs are those of one host, h100:8, or of several,
h100:2x8.
"""

from absl import flags
from ml_collections import config_flags

from empg_jax.cli import command_line
from empg_jax.distributed import sharding
from empg_jax.io import json_text, paths, words
from empg_jax.kernels import hardware
from empg_jax.models import fetching
from empg_jax.plan import chips, planner, programs, report, shapes, topology

_CONFIG = config_flags.DEFINE_config_file("config", None, "configs/FILE.py[:PRESET]")
_TOPOLOGY = flags.DEFINE_string("topology", None, "KIND:SHAPE: v5p:4x4x8, h100:8", required=True)
_SLICES = flags.DEFINE_integer(
  "slices", 1, "number of slices, connected by the data center's network", lower_bound=1
)
_PROGRAMS = flags.DEFINE_multi_enum(
  "program", list(planner.PROGRAMS), list(planner.PROGRAMS), "what to compile; may be repeated"
)
_QUICK = flags.DEFINE_bool("quick", False, "compile with less effort")
_FIND_BATCH = flags.DEFINE_bool("find-batch", False, "look for the largest microbatch that fits")
_JSON = command_line.define_path("json", None, "file to write the results to")


def main(argv):
  del argv
  command_line.check_file(_JSON.value)
  topology.prepare(_TOPOLOGY.value)
  config, chip = _CONFIG.value, chips.of(_TOPOLOGY.value)
  preset = command_line.config_name().partition(":")[2]
  with fetching.without_weights():
    shape = shapes.of(config.model.path, preset)
  mesh = topology.mesh(topology.devices(_TOPOLOGY.value, _SLICES.value), **config.mesh)
  for key, rows in (("train.size", config.train.size), ("policy.slots", config.policy.slots)):
    sharding.check_rows(key, rows, mesh.size, **config.mesh)
  sharding.check_heads(shape.num_key_value_heads, mesh.shape[sharding.TENSOR])
  axes = ", ".join(f"{name} {size}" for name, size in mesh.shape.items())
  print(f"{config.model.path or preset} on {_SLICES.value} x {_TOPOLOGY.value}: {axes}", flush=True)
  planned, reports = planner.Planner(shape, mesh, chip), {}
  for name in _PROGRAMS.value:
    reports[name] = planned.measure(name, config, _QUICK.value)
    print(report.show(reports[name], chip), flush=True)
  print("\n".join(report.of_run(planned.items(config), reports, chip)), flush=True)
  counts = programs.count(config, hardware.of(mesh))
  print(report.compiling(counts, reports), flush=True)
  if _FIND_BATCH.value:
    print(f"largest microbatch that fits: {words.count(planned.largest(config), 'row')}")
  if _JSON.value:
    results = {"topology": _TOPOLOGY.value, "slices": _SLICES.value, "mesh": dict(mesh.shape)}
    results["programs"] = report.values(list(reports.values()), chip)
    text = json_text.dumps(results, indent=2) + "\n"
    paths.write(_JSON.value, text, whole=False)
  planned.check(config, reports)


if __name__ == "__main__":
  command_line.run(main)
