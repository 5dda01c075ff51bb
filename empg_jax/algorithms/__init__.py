"""Algorithms: a learning signal for the whole batch, and a loss for its rows.

One file each, with a `make(...)` that returns an Algorithm; found by the file's name.
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
  """What the batch says about each token, taken once over all of its rows."""

  advantages: Float[Array, "B T"]
  weights: Float[Array, "B T"]
  """How much the token counts in the loss (core.weighting.token_weights)."""
  votes: Float[Array, "B"]
  """What the loss is a mean over, by rows (core.weighting.row_votes)."""
  targets: Float[Array, "B T"] | None = None
  """What the value of a token's step is to become, where values are estimated."""


Advantages = Callable[[Batch, Float[Array, "B T"]], tuple[Signal, Metrics]]
Loss = Callable[
  [TokenStats, Signal, Batch, Float[Array, "B T"] | None], tuple[Float[Array, ""], Metrics]
]


class Algorithm(NamedTuple):
  """A pair of pure functions, and a third where values are estimated.

  advantages(batch, entropy [B, T]) -> (Signal, Metrics): over the whole batch, before any
    split into microbatches; `entropy` is the behaviour policy's, in nats.
  loss(stats, signal, rows, reference_logprobs [B, T] | None) -> (scalar, Metrics): over any
    rows; sums, so that microbatches add up to the batch.
  uses_reference: whether the loss wants the log-probabilities of a frozen reference policy.
  parts(batch, entropy) -> {name: [B, T]}: what an advantage was made of on its way, for those
    who look (`explain`); the update does not ask for it.
  value_loss(values [B, T], signal, rows) -> (scalar, Metrics): what is added to the loss to
    train the value head; `advantages` then finds the old values in the batch. None: there is
    no head.
  """

  advantages: Advantages
  loss: Loss
  uses_reference: bool = False
  parts: Callable[[Batch, Float[Array, "B T"]], dict[str, Float[Array, "B T"]]] | None = None
  value_loss: (
    Callable[[Float[Array, "B T"], Signal, Batch], tuple[Float[Array, ""], Metrics]] | None
  ) = None


def make(name: str, **arguments: Any) -> Algorithm:
  """The algorithm `name` with its arguments: a file of this folder, or `my_lab.my_algorithm`.

  A `base` among them is itself a mapping with a name: `make("empg", base={"name": "grpo"})`.

  Raises:
    ValueError: there is no such algorithm, or it takes no such argument.
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
  """The advantages that `algorithm` gives a batch, as "advantage", and their parts by name.

  Apart from the update, and on one device: to be read, not trained on. Nothing where they
  rest on estimated values that the batch does not hold: the update makes those itself.
  """
  if algorithm.value_loss and batch.values is None:
    return {}
  signal, _ = algorithm.advantages(batch, entropy)
  parts = algorithm.parts(batch, entropy) if algorithm.parts else {}
  return {**parts, "advantage": signal.advantages}
