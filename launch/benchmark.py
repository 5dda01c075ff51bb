"""Measures the parts of a training step on this machine.

  python launch/benchmark.py --suite=step              the update: time, memory, lower bound
  python launch/benchmark.py --suite=rollout           sampling: long replies, long episodes
  python launch/benchmark.py --suite=envs              ALFWorld: resets and steps
  python launch/benchmark.py --suite=loss              log-probability and entropy, each way
  python launch/benchmark.py --suite=step --json=F     the first, with all results as JSON

The default model has Qwen2's shape with 12.3 million random parameters; --model takes the shape
of a released one. CPU seconds count all threads of this process, and hardly depend on other
programs.
"""

import os
import platform

from absl import flags
import jax

from empg_jax.benchmark import envs, loss, rollout, step
from empg_jax.cli import command_line
from empg_jax.io import json_text, paths
from empg_jax.kernels import hardware
from empg_jax.models.decoder import DecoderConfig
from empg_jax.plan import shapes

SUITES = {"step": step, "rollout": rollout, "envs": envs, "loss": loss}

_SUITE = flags.DEFINE_enum("suite", "step", list(SUITES), "what to measure")
_JSON = command_line.define_path("json", None, "file to write the results to")
_REPEATS = flags.DEFINE_integer("repeats", 5, "timings of each kind", lower_bound=1)

_MODEL = flags.DEFINE_enum(
  "model",
  None,
  list(shapes.KNOWN),
  "the shape of a released model, instead of --layers, --width and --vocab",
)
_LAYERS = flags.DEFINE_integer("layers", 4, "layers of the model", lower_bound=1)
_WIDTH = flags.DEFINE_integer("width", 256, "its width, in heads of 64", lower_bound=128)
_VOCAB = flags.DEFINE_integer("vocab", 32768, "its vocabulary", lower_bound=8)
_DTYPES = flags.DEFINE_multi_enum(
  "dtype", ["float32", "bfloat16"], ["float32", "bfloat16"], "operand types; may be repeated"
)

_ROWS = flags.DEFINE_integer("rows", 8, "rows of the batch, or conversations", lower_bound=1)
_PROMPT = flags.DEFINE_integer("prompt", 128, "tokens of the prompt", lower_bound=1)
_COMPLETION = flags.DEFINE_integer(
  "completion", 384, "step, loss: the agent's tokens", lower_bound=1
)
_SIZES = flags.DEFINE_list("sizes", ["1", "2", "4", "8"], "step: rows in a microbatch")
_REMAT = flags.DEFINE_bool("remat", False, "step: recompute layers in the backward pass")
_MATMUL = flags.DEFINE_integer("matmul", 2048, "step: side of the matrices", lower_bound=1)

_REPLY = flags.DEFINE_integer("reply", 128, "rollout: tokens of a long reply", lower_bound=2)
_TURNS = flags.DEFINE_integer("turns", 30, "rollout, envs: turns of an episode", lower_bound=1)
_OBSERVATION = flags.DEFINE_integer(
  "observation", 48, "rollout: tokens of an observation", lower_bound=1
)
_ACTION = flags.DEFINE_integer("action", 16, "rollout: tokens of a turn's reply", lower_bound=1)
_SLOTS = flags.DEFINE_integer("slots", 64, "rollout: conversations at a time", lower_bound=1)
_EPISODES = flags.DEFINE_integer("episodes", 128, "rollout: of random lengths", lower_bound=1)

_GAMES = flags.DEFINE_integer("games", 100, "envs: games in each repeat", lower_bound=1)

_VOCABS = flags.DEFINE_list("vocabs", ["32768", "151936"], "loss: sizes of the vocabulary")
_TOPOLOGY = flags.DEFINE_string("topology", "v5e:2x2", "loss: the TPU topology to compile for")


def main(argv):
  del argv
  suite = SUITES[_SUITE.value]
  results = suite.measure(**arguments())
  print(suite.show(results), flush=True)
  if _JSON.value:
    report = {"suite": _SUITE.value, "host": host(), "flags": given(), "results": results}
    paths.make_folder(paths.of(_JSON.value).parent)
    paths.write(_JSON.value, json_text.dumps(report, indent=2) + "\n", whole=False)


def arguments() -> dict:
  """The arguments of the chosen suite."""
  if _SUITE.value == "envs":
    return dict(games=_GAMES.value, max_turns=_TURNS.value, repeats=_REPEATS.value)
  if _SUITE.value == "loss":
    return dict(
      rows=_ROWS.value,
      length=_COMPLETION.value,
      width=model_config().hidden_size,
      vocabs=[model_config().vocab_size] if _MODEL.value else numbers(_VOCABS),
      dtypes=_DTYPES.value,
      repeats=_REPEATS.value,
      topology=_TOPOLOGY.value,
    )
  shared = dict(
    config=model_config(),
    rows=_ROWS.value,
    prompt=_PROMPT.value,
    dtypes=_DTYPES.value,
    repeats=_REPEATS.value,
  )
  if _SUITE.value == "step":
    return shared | dict(
      completion=_COMPLETION.value,
      sizes=numbers(_SIZES),
      remat=_REMAT.value,
      matmul=_MATMUL.value,
    )
  return shared | dict(
    reply=_REPLY.value,
    turns=_TURNS.value,
    observation=_OBSERVATION.value,
    action=_ACTION.value,
    slots=_SLOTS.value,
    episodes=_EPISODES.value,
  )


def model_config() -> DecoderConfig:
  """A released model's config, or one like Qwen2's: two query heads a key/value head, tied."""
  if _MODEL.value:
    return shapes.KNOWN[_MODEL.value]
  if _WIDTH.value % 128:
    raise ValueError(
      f"--width={_WIDTH.value} does not hold pairs of heads of 64: make it a multiple of 128"
    )
  heads = _WIDTH.value // 64
  return DecoderConfig(
    vocab_size=_VOCAB.value,
    hidden_size=_WIDTH.value,
    intermediate_size=4 * _WIDTH.value,
    num_hidden_layers=_LAYERS.value,
    num_attention_heads=heads,
    num_key_value_heads=heads // 2,
    head_dim=64,
  )


def numbers(flag: flags.FlagHolder) -> list[int]:
  """A flag's positive whole numbers."""
  if not flag.value or not all(x.isdecimal() and int(x) > 0 for x in flag.value):
    given = f"--{flag.name}={','.join(flag.value)}"
    raise ValueError(f"{given}: want whole numbers, like --{flag.name}={','.join(flag.default)}")
  return [int(x) for x in flag.value]


def given() -> dict:
  """The values of this file's flags."""
  mine = flags.FLAGS.get_key_flags_for_module(flags.FLAGS.find_module_defining_flag("suite"))
  return {flag.name: flag.value for flag in mine}


def host() -> dict:
  return {
    "machine": platform.machine(),
    "cores": os.cpu_count(),
    "devices": [device.device_kind for device in jax.local_devices()],
    "python": platform.python_version(),
    "jax": jax.__version__,
    "load_1m": os.getloadavg()[0],
  }


if __name__ == "__main__":
  hardware.prepare()
  command_line.run(main)
