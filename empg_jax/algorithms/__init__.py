"""Algorithms: a learning signal for the whole batch, and a loss for its rows.

Each is a file with a `make(...)` that returns an Algorithm, found by the file's name.
"""

from collections.abc import Callable, Mapping
import functools
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float

from empg_jax.config import config, lookup
from empg_jax.types import Batch, TokenStats

Metrics = dict[str, Float[Array, ""]]


class Signal(NamedTuple):
  """The learning signal of each token, computed once over all rows of the batch."""

  advantages: Float[Array, "B T"]
  weights: Float[Array, "B T"]
  """The token's weight in the loss (core.weighting.token_weights)."""
  votes: Float[Array, "B"]
  """How many of what the loss is a mean over each row has (core.weighting.row_votes)."""
  targets: Float[Array, "B T"] | None = None
  """The target of the value of a token's step, where values are estimated."""


Advantages = Callable[[Batch, Float[Array, "B T"]], tuple[Signal, Metrics]]
Loss = Callable[
  [TokenStats, Signal, Batch, Float[Array, "B T"] | None], tuple[Float[Array, ""], Metrics]
]


class Algorithm(NamedTuple):
  """Pure functions: advantages and loss, and a value loss where values are estimated.

  advantages(batch, entropy [B, T]) -> (Signal, Metrics): over the whole batch, before any
    split into microbatches; `entropy` is the behaviour policy's, in nats.
  loss(stats, signal, rows, reference_logprobs [B, T] | None) -> (scalar, Metrics): over any
    rows; sums, so that microbatches add up to the batch.
  uses_reference: whether the loss needs the log-probabilities of a frozen reference policy.
  parts(batch, entropy) -> {name: [B, T]}: the terms of the advantages, for inspection
    (`explain`); the update does not use them.
  value_loss(values [B, T], signal, rows) -> (scalar, Metrics): the term of the loss that
    trains the value head; `advantages` then reads the old values from the batch. None: there
    is no value head.
  """

  advantages: Advantages
  loss: Loss
  uses_reference: bool = False
  parts: Callable[[Batch, Float[Array, "B T"]], dict[str, Float[Array, "B T"]]] | None = None
  value_loss: (
    Callable[[Float[Array, "B T"], Signal, Batch], tuple[Float[Array, ""], Metrics]] | None
  ) = None


def make(name: str, **arguments: Any) -> Algorithm:
  """Makes the algorithm `name`: a file of this folder, or a module `my_lab.my_algorithm`.

  The argument `base` is itself a mapping with a name: `make("empg", base={"name": "grpo"})`.

  Raises:
    ValueError: there is no such algorithm, or it has no such argument.
  """
  base = arguments.get("base")
  if isinstance(base, Mapping):
    arguments["base"] = make(**base)
  module = lookup.find_or_import(__name__, name)
  config.check_arguments(module.make, arguments, f"the algorithm {name}")
  made: Algorithm = module.make(**arguments)
  return made


@functools.partial(jax.jit, static_argnames="algorithm")
def explain(
  algorithm: Algorithm, batch: Batch, entropy: Float[Array, "B T"]
) -> dict[str, Float[Array, "B T"]]:
  """The advantages of a batch, as "advantage", and their terms by name.

  For inspection, on one device and apart from the update. Empty where advantages need
  estimated values that the batch does not hold: the update computes those itself.
  """
  if algorithm.value_loss and batch.values is None:
    return {}
  signal, _ = algorithm.advantages(batch, entropy)
  parts = algorithm.parts(batch, entropy) if algorithm.parts else {}
  return {**parts, "advantage": signal.advantages}
