"""The update: GRPO with EMPG on one batch, compared with the machine's matmul rate."""

from collections.abc import Sequence
import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from empg_jax import algorithms
from empg_jax.benchmark import _timing
from empg_jax.models.decoder import Decoder, DecoderConfig
from empg_jax.training import microbatch, state as states
from empg_jax.training.step import train_step
from empg_jax.types import Batch

_STEP_TOKENS = 32  # of one agent turn in the batch
_ALGORITHM = dict(name="empg", base=dict(name="grpo"))


def measure(
  config: DecoderConfig,
  *,
  rows: int,
  prompt: int,
  completion: int,
  sizes: Sequence[int],
  dtypes: Sequence[str],
  remat: bool,
  repeats: int,
  matmul: int,
) -> dict[str, Any]:
  """Times one update for every operand dtype and microbatch size.

  Args:
    config: of the model, whose parameters are float32.
    rows, prompt, completion: the batch; all rows have the same length.
    sizes: rows in a microbatch; those that do not divide `rows` are skipped.
    dtypes: operand dtypes of the matrix products.
    remat: recompute layers in the backward pass rather than keep their activations.
    repeats: of each timing.
    matmul: side of the square matrices that measure the machine's rate.

  Returns:
    `machine`: rates of matrix products; `floor`: the time of 6 N D operations at them;
    `runs`: a measurement for every dtype and size; `best`: for every dtype the size with
    the least CPU time.

  Raises:
    ValueError: none of the sizes divides the rows.
  """
  fitting = [size for size in sizes if rows % size == 0] or sizes[:1]
  microbatch.check(rows, fitting[0])
  parameters = sum(x.size for x in jax.tree.leaves(jax.eval_shape(lambda: _model(config))))
  machine = {dtype: matmul_rate(matmul, dtype, repeats) for dtype in dtypes}
  tokens = rows * (prompt + completion)
  batch = jax.device_put(make_batch(rows, prompt, completion, config.vocab_size))
  runs = []
  for dtype in dtypes:
    for size in fitting:
      run = _time_update(config, batch, dtype, size, remat, repeats)
      rate = tokens / run["wall_s"]["median"]
      runs.append({"compute_dtype": dtype, "size": size, "tokens_per_s": rate, **run})
  cpu = lambda run: run["cpu_s"]["median"]
  of = lambda dtype: [run for run in runs if run["compute_dtype"] == dtype]
  return {
    "parameters": parameters,
    "tokens": tokens,
    "machine": machine,
    "floor": {dtype: _floor(6 * parameters * tokens, machine[dtype]) for dtype in dtypes},
    "runs": runs,
    "best": {dtype: min(of(dtype), key=cpu)["size"] for dtype in dtypes},
  }


def matmul_rate(side: int, dtype: str, repeats: int) -> dict[str, float]:
  """GFLOP per second, and per CPU second, of square products with float32 output."""
  a, b = jax.random.normal(jax.random.key(0), (2, side, side)).astype(dtype)
  product = jax.jit(functools.partial(jnp.matmul, preferred_element_type=jnp.float32))
  run = lambda: jax.block_until_ready(product(a, b))
  seconds = _timing.timed(run, 2 * repeats, "matrix products")
  gflop = 2 * side**3 / 1e9
  return {
    "gflop_per_s": gflop / seconds["wall_s"]["min"],
    "gflop_per_cpu_s": gflop / seconds["cpu_s"]["min"],
  }


def make_batch(rows: int, prompt: int, completion: int, vocab: int) -> Batch:
  """Random episodes in groups of four: a prompt, then turns of 32 tokens up to the end."""
  rng = np.random.default_rng(0)
  ids = rng.integers(0, vocab, (rows, prompt + completion + 1), dtype=np.int32)
  place = np.arange(prompt + completion)
  steps = np.where(place < prompt, 0, (place - prompt) // _STEP_TOKENS + 1)
  steps = np.broadcast_to(steps, (rows, len(place))).astype(np.int32)
  random = rng.uniform(0.5, 1, steps.shape)
  behavior = np.where(steps > 0, random * np.log(vocab), 0).astype(np.float32)
  return Batch(
    tokens=ids[:, :-1],
    actions=ids[:, 1:],
    steps=steps,
    behavior_logprobs=-behavior,
    behavior_entropy=behavior,
    rewards=np.zeros_like(behavior),
    anchors=steps,
    returns=rng.normal(size=rows).astype(np.float32),
    group_ids=np.arange(rows, dtype=np.int32) // 4,
    episode_ids=np.arange(rows, dtype=np.int32),
  )


def _model(config: DecoderConfig) -> Decoder:
  return Decoder(config, jax.random.key(0))


def _time_update(config, batch, dtype, size, remat, repeats) -> dict[str, Any]:
  optimizer = states.make_optimizer(learning_rate=1e-4)
  state = jax.jit(lambda: states.create(_model(config), optimizer))()
  start = time.perf_counter()
  compiled = train_step.lower(
    state,
    batch,
    algorithm=algorithms.make(**_ALGORITHM),
    optimizer=optimizer,
    size=size,
    compute_dtype=dtype,
    remat=remat,
  ).compile()
  compile_s = time.perf_counter() - start

  def run():
    nonlocal state
    state, metrics = compiled(state, batch)
    jax.block_until_ready((state, metrics))

  seconds = _timing.timed(run, repeats, f"{dtype} update, microbatch {size}")
  return {**seconds, "compile_s": compile_s, "xla": xla_memory(compiled)}


def xla_memory(compiled: jax.stages.Compiled) -> dict[str, float]:
  """XLA's memory analysis of a program, in MiB."""
  m = compiled.memory_analysis()
  sizes = {
    "arguments": m.argument_size_in_bytes,
    "outputs": m.output_size_in_bytes,
    "aliased": m.alias_size_in_bytes,
    "temporaries": m.temp_size_in_bytes,
  }
  total = sizes["arguments"] + sizes["outputs"] - sizes["aliased"] + sizes["temporaries"]
  return {f"{name}_mib": size / _timing.MIB for name, size in {**sizes, "total": total}.items()}


def _floor(operations: float, machine: dict[str, float]) -> dict[str, float]:
  gflop = operations / 1e9
  return {
    "gflop": gflop,
    "wall_s": gflop / machine["gflop_per_s"],
    "cpu_s": gflop / machine["gflop_per_cpu_s"],
  }


def show(results: dict[str, Any]) -> str:
  """The results as text."""
  header = (
    "operands", "microbatch", "CPU s", "wall s", "tokens/s", "XLA MiB", "arguments", "outputs",
    "aliased", "temporaries", "peak RSS", "compile s",
  )  # fmt: skip
  rows = []
  for run in results["runs"]:
    best = run["size"] == results["best"][run["compute_dtype"]]
    xla = run["xla"]
    kinds = ("total", "arguments", "outputs", "aliased", "temporaries")
    rows.append(
      (
        run["compute_dtype"],
        f"{'* ' if best else ''}{run['size']}",
        _timing.show_spread(run["cpu_s"]),
        _timing.show_spread(run["wall_s"]),
        f"{run['tokens_per_s']:,.0f}",
        *(_timing.show_mib(xla[f"{kind}_mib"]) for kind in kinds),
        _timing.show_mib(run["peak_rss_mib"]),
        f"{run['compile_s']:.1f}",
      )
    )
  lines = [
    f"update: {results['parameters']:,} parameters, {results['tokens']:,} tokens;"
    " median (min-max); * takes the least CPU time",
    _timing.table(header, rows),
  ]
  for dtype, floor in results["floor"].items():
    rate = results["machine"][dtype]
    lines.append(
      f"{dtype} matrix products here: {rate['gflop_per_s']:.0f} GFLOP/s,"
      f" {rate['gflop_per_cpu_s']:.0f} GFLOP/CPU s; 6 N D = {floor['gflop']:.0f} GFLOP take"
      f" {floor['wall_s']:.2f} s, {floor['cpu_s']:.2f} CPU s"
    )
  return "\n".join(lines)
