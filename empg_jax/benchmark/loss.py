"""Token statistics with gradients: from whole logits, in chunks, and in the TPU kernels."""

from collections.abc import Callable, Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from empg_jax.benchmark import _timing
from empg_jax.core.fused import fused_token_stats
from empg_jax.core.tokens import token_stats
from empg_jax.distributed import sharding
from empg_jax.models.linear import linear
from empg_jax.plan import chips, compiling, topology as topologies
from empg_jax.plan.programs import Program
from empg_jax.types import TokenStats

_TPU_BLOCK = 4096  # vocabulary entries per chunk of XLA on a TPU
_TPU = dict(tokens=8192, width=3584, vocab=152_064)  # Qwen2.5-7B: a row on one chip


def measure(
  *,
  rows: int,
  length: int,
  width: int,
  vocabs: Sequence[int],
  dtypes: Sequence[str],
  repeats: int,
  topology: str,
) -> dict[str, Any]:
  """Times two implementations here, and compiles all three for a chip of a TPU topology.

  Args:
    rows, length: of the tokens.
    width: of the hidden states.
    vocabs: sizes of the vocabulary.
    dtypes: operand dtypes of the matrix products.
    repeats: of each timing; the two implementations alternate.
    topology: like "v5e:2x2".

  Returns:
    `runs`: CPU seconds, wall seconds and XLA's temporaries by vocabulary, dtype and way
    ("plain", "chunked"), forward only and with gradients; `tpu`: one chip's memory,
    operations and lower bound of the time, or `missing`, why there are none.
  """
  runs = []
  for vocab in vocabs:
    for dtype in dtypes:
      for gradient in (False, True):
        runs += _compared(_operands(rows, length, width, vocab), dtype, gradient, repeats)
  return {"tokens": rows * length, "width": width, "runs": runs, **_compiled(topology)}


def _plain(hidden, embedding, actions, dtype) -> TokenStats:
  return token_stats(linear(hidden, embedding, dtype), actions)


def _chunked(hidden, embedding, actions, dtype, block_size=None) -> TokenStats:
  return fused_token_stats(hidden, embedding.T, actions, compute_dtype=dtype, block_size=block_size)


def _operands(rows: int, length: int, width: int, vocab: int):
  """Hidden states, a tied embedding [V, D] and actions."""
  of_hidden, of_embedding, of_actions = jax.random.split(jax.random.key(0), 3)
  hidden = jax.random.normal(of_hidden, (rows, length, width))
  embedding = width**-0.5 * jax.random.normal(of_embedding, (vocab, width))
  return hidden, embedding, jax.random.randint(of_actions, (rows, length), 0, vocab)


def _gradients(stats: Callable) -> Callable:
  """Gradients of hidden and embedding for a loss of log-probabilities and entropies."""

  def loss(hidden, embedding, actions):
    logprobs, entropy = stats(hidden, embedding, actions)
    return jnp.sum(entropy) - jnp.sum(logprobs)

  return jax.grad(loss, argnums=(0, 1))


def _compared(operands, dtype: str, gradient: bool, repeats: int) -> list[dict[str, Any]]:
  ways = {"plain": _plain, "chunked": _chunked}
  programs, calls = {}, {}
  for name, f in ways.items():
    f = functools.partial(f, dtype=dtype)
    program = jax.jit(_gradients(f) if gradient else f).lower(*operands).compile()
    programs[name] = program
    calls[name] = lambda program=program: jax.block_until_ready(program(*operands))
  times = _timing.in_turn(calls, repeats)
  return [
    {
      "vocab": operands[1].shape[0],
      "dtype": dtype,
      "gradient": gradient,
      "way": name,
      **times[name],
      "temporaries_mib": program.memory_analysis().temp_size_in_bytes / _timing.MIB,
    }
    for name, program in programs.items()
  ]


def _compiled(topology: str) -> dict[str, Any]:
  """The three implementations compiled for one chip."""
  chip = chips.of(topology)
  try:
    topologies.prepare(topology)
  except ImportError as missing:
    return {"tpu": [], "missing": str(missing)}
  mesh = sharding.make_mesh(devices=topologies.devices(topology)[:1])
  whole = NamedSharding(mesh, PartitionSpec())
  shapes = [
    jax.ShapeDtypeStruct(shape, dtype, sharding=whole)
    for shape, dtype in (
      ((1, _TPU["tokens"], _TPU["width"]), jnp.float32),
      ((_TPU["vocab"], _TPU["width"]), jnp.float32),
      ((1, _TPU["tokens"]), jnp.int32),
    )
  ]
  ways = {
    "plain": _plain,
    "chunked": functools.partial(_chunked, block_size=_TPU_BLOCK),
    "Pallas": _chunked,
  }
  found = []
  for name, f in ways.items():
    traced = jax.jit(_gradients(functools.partial(f, dtype="bfloat16"))).trace(*shapes)
    needed = 6.0 * _TPU["tokens"] * _TPU["width"] * _TPU["vocab"]
    program = Program(name, traced, _TPU["tokens"], needed)
    found.append({"way": name, "topology": topology, **_on_chip(program, mesh, chip)})
  return {"tpu": found}


def _on_chip(program: Program, mesh, chip: chips.Chip) -> dict[str, Any]:
  try:
    report = compiling.measure(program, mesh, chip)
  except compiling.TooLarge as error:
    return {"too_large": str(error)}
  return {
    "peak_gib": report.peak,
    "temporaries_gib": report.temporaries,
    "tflop": report.flops / 1e12,
    "step_s": report.step_s,
    "limit": report.limit,
  }


def show(results: dict[str, Any]) -> str:
  """The results as text."""
  rows, plain = [], {}
  for run in results["runs"]:
    if run["way"] == "plain":
      plain = run
    of_plain = lambda value, of: f"{value / of:.0%}" if of else "-"
    rows.append(
      (
        f"{run['vocab']:,}",
        run["dtype"],
        "with gradients" if run["gradient"] else "forward",
        run["way"],
        _timing.show_spread(run["cpu_s"]),
        of_plain(run["cpu_s"]["median"], plain["cpu_s"]["median"]),
        _timing.show_spread(run["wall_s"], digits=4),
        f"{run['temporaries_mib']:,.1f}",
        of_plain(run["temporaries_mib"], plain["temporaries_mib"]),
      )
    )
  header = (
    "V", "operands", "program", "way", "CPU s", "of plain", "wall s", "temporaries MiB", "of plain",
  )  # fmt: skip
  title = (
    f"token statistics: {results['tokens']:,} tokens of width {results['width']}; median (min-max)"
  )
  return "\n".join([title, _timing.table(header, rows), "", *_show_tpu(results)])


def _show_tpu(results: dict[str, Any]) -> list[str]:
  if not results["tpu"]:
    return [f"Not compiled for a TPU: {results['missing']}"]
  rows = [
    (x["way"], x["too_large"], "", "", "")
    if "too_large" in x
    else (
      x["way"],
      f"{x['peak_gib']:.2f}",
      f"{x['temporaries_gib']:.2f}",
      f"{x['tflop']:.1f}",
      f"{1e3 * x['step_s']:.0f} by {x['limit']}",
    )
    for x in results["tpu"]
  ]
  header = ("way", "peak GiB", "temporaries GiB", "TFLOP", "ms at least")
  title = (
    f"with gradients on a chip of {results['tpu'][0]['topology']}: {_TPU['tokens']:,} tokens of"
    f" width {_TPU['width']:,}, V {_TPU['vocab']:,}, bfloat16 operands; compiled, not run"
  )
  return [title, _timing.table(header, rows)]
