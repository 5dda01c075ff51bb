"""The update as one XLA program: token statistics, modulation, backward, optimizer."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from empg_jax.algorithms import Algorithm
from empg_jax.core.mismatch import truncated_ratio
from empg_jax.models import lora
from empg_jax.models.decoder import Decoder
from empg_jax.training import microbatch
from empg_jax.training.score import token_stats
from empg_jax.training.state import TrainState, apply_gradient
from empg_jax.types import Batch, Metrics, TokenStats

Entropies = Literal["rollout", "recomputed"]


@functools.partial(
    jax.jit,
    static_argnames=(
        "algorithm", "optimizer", "entropies", "truncation", "size", "minibatches", "epochs",
        "lengths", "temperature", "compute_dtype", "remat",
    ),
    donate_argnames=("state",),
)  # fmt: skip
def train_step(
    state: TrainState,
    batch: Batch,
    reference: Decoder | None = None,
    base: Decoder | None = None,
    *,
    algorithm: Algorithm,
    optimizer: optax.GradientTransformation,
    size: int,
    minibatches: int = 1,
    epochs: int = 1,
    lengths: tuple[int, ...] = (),
    temperature: float = 1.0,
    entropies: Entropies = "rollout",
    truncation: float = 0.0,
    compute_dtype: str = "float32",
    remat: bool = False,
) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
  """The update of the policy on one batch.

  Args:
    state: donated.
    batch: padded episodes; a filler row counts nowhere.
    reference: the frozen policy of the KL penalty, where the algorithm has one.
    base: the frozen decoder of the state's adapters, where it holds adapters; it may be
      the reference too.
    algorithm: its statistics are taken once, over the whole batch.
    optimizer: as the state was created with.
    size: rows in a microbatch.
    minibatches: optimizer steps, each on its share of the rows; size x minibatches divides B.
    epochs: how often the minibatches are gone through.
    lengths: what a microbatch of short rows may be cut to.
    temperature: the sampling's, so that probabilities are those that were sampled from.
    entropies: "rollout": those recorded while sampling; "recomputed": by a first,
      forward-only pass of the current policy over the batch.
    truncation: 0, or the most that a token counts by the ratio of that pass's probability
      to the recorded one; the policy's ratio is then relative to the pass. See
      core.mismatch, whose metrics come with any such pass.
    compute_dtype: operand type of the matrix products.
    remat: recompute layers in the backward pass rather than keep their activations.

  Returns:
    The new state, and float32 scalars, means over the minibatches of all epochs.
  """
  microbatch.check(batch.tokens.shape[0], size, minibatches)
  stats = functools.partial(
      token_stats, temperature=temperature, compute_dtype=compute_dtype, remat=remat
  )
  batch, entropy, ratio, mismatch = behavior(
      stats, lora.attach(base, state.model), batch, size, entropies, truncation
  )
  signal, metrics = algorithm.advantages(batch, entropy)

  def loss(trained, rows):
    rows, signal = rows
    model = lora.attach(base, trained)
    reference_logprobs = None
    if algorithm.uses_reference:
      reference_logprobs = jax.lax.stop_gradient(stats(reference, rows).logprobs)
    return algorithm.loss(stats(model, rows), signal, rows, reference_logprobs)

  def update(state, pieces):
    sums, gradient = microbatch.sum_gradients(
        loss, state.model, pieces, structure, lengths=lengths
    )
    state, applied = apply_gradient(state, optimizer, gradient, sums["loss/total"])
    return state, {**sums, **applied}

  weights = microbatch.share(signal.weights, signal.votes, size, minibatches)
  shares = signal._replace(weights=weights * ratio)
  structure = jax.tree.structure((batch, shares))
  pieces = microbatch.split((batch, shares), batch.steps > 0, size)
  pieces = pieces.minibatches(minibatches)
  epoch = lambda state, _: jax.lax.scan(update, state, pieces)
  state, updates = jax.lax.scan(epoch, state, length=epochs)
  updates = {name: jnp.mean(x) for name, x in updates.items()}
  skipped = {"update/skipped": state.skipped.astype(jnp.float32)}
  return state, {**metrics, **mismatch, **updates, **skipped}


def behavior(
    stats: Callable[[Decoder, Batch], TokenStats],
    model: Decoder,
    batch: Batch,
    size: int,
    entropies: Entropies,
    truncation: float,
) -> tuple[Batch, Float[Array, "B T"], Float[Array, "B T"] | float, Metrics]:
  """What the policy that sampled is taken to be: recorded, or computed before the update.

  Returns the batch with that policy's log-probabilities, its entropies, what weights are
  multiplied by, and metrics.
  """
  recorded = TokenStats(batch.behavior_logprobs, batch.behavior_entropy)
  if entropies == "rollout" and not truncation:
    return batch, recorded.entropy, 1.0, {}
  computed = recompute(stats, model, batch, size)
  ratio, metrics = truncated_ratio(
      computed, recorded, batch.steps > 0, truncation or float("inf")
  )
  entropy = computed.entropy if entropies == "recomputed" else recorded.entropy
  if not truncation:
    return batch, entropy, 1.0, metrics
  batch = dataclasses.replace(batch, behavior_logprobs=computed.logprobs)
  return batch, entropy, ratio, metrics


def recompute(stats, model: Decoder, batch: Batch, size: int) -> TokenStats:
  """What the current policy says of the batch, `size` rows at a time."""
  structure = jax.tree.structure(batch)
  pieces = microbatch.split(batch, batch.steps > 0, size)
  computed = jax.lax.map(lambda x: stats(model, structure.unflatten(x)), pieces.leaves)
  return jax.tree.map(microbatch.join, computed)
