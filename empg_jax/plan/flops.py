"""Floating-point operations of a program, counted from its jaxpr."""

import math
from typing import NamedTuple

from jax.extend import core as jax_core

from empg_jax.models.decoder import DecoderConfig


class _At(NamedTuple):
  """The context of an operation in a program."""

  devices: int  # over which it is sharded
  platform: str
  trips: int = 1  # of a while loop around it


def of_program(
  jaxpr: jax_core.ClosedJaxpr, devices: int, trips: int = 1, platform: str = "tpu"
) -> float:
  """FLOPs of the matrix products on all devices: loops times trips, the costliest branch.

  Args:
    jaxpr: of the program.
    devices: over which it is sharded.
    trips: of a while loop, whose jaxpr does not give them.
    platform: "tpu" or "cuda", whose branch of `lax.platform_dependent` counts.
  """
  return _of(jaxpr.jaxpr, _At(devices, platform, trips))


def _of(jaxpr, at: _At) -> float:
  return sum((_of_equation(equation, at) for equation in jaxpr.eqns), 0.0)


def _of_equation(equation, at: _At) -> float:
  name, params = equation.primitive.name, equation.params
  if name == "dot_general":
    return _of_product(equation)
  if name.startswith("dot_product_attention"):
    return _of_attention(equation, "bwd" in name)
  if name == "scan":
    return params["length"] * _of(params["jaxpr"].jaxpr, at)
  if name == "while":
    return at.trips * _of(params["body_jaxpr"].jaxpr, at._replace(trips=1))
  if name == "cond":
    return _of_branches(params, at._replace(trips=1))
  if name == "shard_map":  # its body is counted for one device and runs on all
    return at.devices * _of(_open(params["jaxpr"]), at._replace(devices=1, trips=1))
  if name == "pallas_call":
    return _of_kernel(params, at._replace(trips=1))
  return sum((_of(_open(x), at) for x in _jaxprs(params)), 0.0)


def _of_product(equation) -> float:
  (contracted, _), _ = equation.params["dimension_numbers"]
  left, out = equation.invars[0].aval, equation.outvars[0].aval
  return 2.0 * math.prod(out.shape) * math.prod(left.shape[i] for i in contracted)


def _of_attention(equation, backward: bool) -> float:
  """cuDNN's causal attention: 2 products forward; backward the scores again and 4 gradients."""
  (batch, queries, heads, dim), keys = (equation.invars[i].aval.shape for i in (0, 1))
  return (5 if backward else 2) * batch * heads * queries * keys[1] * dim


def _of_branches(params, at: _At) -> float:
  branches = params["branches"]
  platforms = params.get("branches_platforms")
  if platforms is not None:  # lax.platform_dependent
    chosen = next(i for i, names in enumerate(platforms) if names is None or at.platform in names)
    branches = [branches[chosen]]
  return max(_of(branch.jaxpr, at) for branch in branches)


def _of_kernel(params, at: _At) -> float:
  trips = math.prod(params["grid_mapping"].grid)
  inside = _of(_open(params["jaxpr"]), at)
  name = str(params.get("name") or params.get("name_and_src_info") or "")
  if "splash" not in name and "flash" not in name:
    return trips * inside
  blocks = params["grid_mapping"].grid[-1]  # those above the diagonal are skipped
  return trips * inside * (1 + 1 / blocks) / 2


def _jaxprs(params):
  """The jaxprs of an equation's parameters: of a call, a checkpoint, a custom derivative."""
  for value in params.values():
    for x in value if isinstance(value, (tuple, list)) else (value,):
      if hasattr(x, "eqns") or hasattr(getattr(x, "jaxpr", None), "eqns"):
        yield x


def _open(jaxpr):
  return jaxpr.jaxpr if hasattr(jaxpr, "jaxpr") else jaxpr


def of_model(config: DecoderConfig, rows: int, length: int) -> float:
  """The model FLOPs of an update: 6 N per token, and causal attention.

  N counts the parameters of matrix products: a tied embedding once, an untied input
  embedding not at all.
  """
  c = config
  attention = (2 * c.num_attention_heads + 2 * c.num_key_value_heads) * c.head_dim
  layer = c.hidden_size * (attention + 3 * c.intermediate_size)
  parameters = c.num_hidden_layers * layer + c.hidden_size * c.vocab_size
  # Scores and mixing: 2 products over T / 2 keys per query on average, times 3 with gradients.
  scores = 6 * length * c.num_hidden_layers * c.num_attention_heads * c.head_dim
  return float(rows * length * (6 * parameters + scores))
