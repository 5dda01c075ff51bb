"""Floating-point operations of a program, counted from what it says and not from a profile."""

import math

import jax
from jax.extend import core as jax_core

from empg_jax.models.decoder import DecoderConfig


def of_program(jaxpr: jax_core.ClosedJaxpr, devices: int, trips: int = 1) -> float:
  """Those of its matrix products on all devices: loops times their trips, the longest branch.

  Args:
    jaxpr: of the program.
    devices: over which it is divided.
    trips: of a while loop, for it does not tell.
  """
  return _of(jaxpr.jaxpr, devices, trips)


def _of(jaxpr, devices: int, trips: int = 1) -> float:
  return sum((_of_equation(equation, devices, trips) for equation in jaxpr.eqns), 0.0)


def _of_equation(equation, devices: int, trips: int) -> float:
  name, params = equation.primitive.name, equation.params
  if name == "dot_general":
    return _of_product(equation)
  if name == "scan":
    return params["length"] * _of(params["jaxpr"].jaxpr, devices, trips)
  if name == "while":
    return trips * _of(params["body_jaxpr"].jaxpr, devices)
  if name == "cond":
    return _of_branches(params, devices)
  if name == "shard_map":  # counted once inside, done by every device
    return devices * _of(_open(params["jaxpr"]), 1)
  if name == "pallas_call":
    return _of_kernel(params, devices)
  return sum((_of(_open(x), devices, trips) for x in _jaxprs(params)), 0.0)


def _of_product(equation) -> float:
  (contracted, _), _ = equation.params["dimension_numbers"]
  left, out = equation.invars[0].aval, equation.outvars[0].aval
  return 2.0 * math.prod(out.shape) * math.prod(left.shape[i] for i in contracted)


def _of_branches(params, devices: int) -> float:
  branches = params["branches"]
  platforms = params.get("branches_platforms")
  if platforms is not None:  # lax.platform_dependent
    chosen = next(i for i, names in enumerate(platforms) if names is None or "tpu" in names)
    branches = [branches[chosen]]
  return max(_of(branch.jaxpr, devices) for branch in branches)


def _of_kernel(params, devices: int) -> float:
  trips = math.prod(params["grid_mapping"].grid)
  inside = _of(_open(params["jaxpr"]), devices)
  name = str(params.get("name") or params.get("name_and_src_info") or "")
  if "splash" not in name and "flash" not in name:
    return trips * inside
  blocks = params["grid_mapping"].grid[-1]  # of these, those above the diagonal are skipped
  return trips * inside * (1 + 1 / blocks) / 2


def _jaxprs(params):
  """All that an equation holds: of a call, a checkpoint, a custom derivative."""
  for value in params.values():
    for x in value if isinstance(value, (tuple, list)) else (value,):
      if hasattr(x, "eqns") or hasattr(getattr(x, "jaxpr", None), "eqns"):
        yield x


def _open(jaxpr):
  return jaxpr.jaxpr if hasattr(jaxpr, "jaxpr") else jaxpr


def of_model(config: DecoderConfig, rows: int, length: int) -> float:
  """What an update needs and no more: 6 N a token, and causal attention.

  N are the parameters of matrix products: a tied embedding once, an untied input
  embedding not at all.
  """
  c = config
  attention = (2 * c.num_attention_heads + 2 * c.num_key_value_heads) * c.head_dim
  layer = c.hidden_size * (attention + 3 * c.intermediate_size)
  parameters = c.num_hidden_layers * layer + c.hidden_size * c.vocab_size
  # Scores and mixing, 2 products of T / 2 keys a query on average, three times with gradients.
  scores = 6 * length * c.num_hidden_layers * c.num_attention_heads * c.head_dim
  return float(rows * length * (6 * parameters + scores))
