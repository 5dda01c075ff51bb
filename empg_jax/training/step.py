"""The update as one XLA program: token statistics, modulation, backward, optimizer."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from empg_jax.algorithms import Algorithm
from empg_jax.models import lora
from empg_jax.models.decoder import Decoder
from empg_jax.training import microbatch
from empg_jax.training.score import token_stats
from empg_jax.training.state import TrainState, apply_gradient
from empg_jax.types import Batch

Entropies = Literal["rollout", "recomputed"]


@functools.partial(
    jax.jit,
    static_argnames=(
        "algorithm", "optimizer", "entropies", "size", "minibatches", "lengths", "temperature",
        "compute_dtype", "remat",
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
    lengths: tuple[int, ...] = (),
    temperature: float = 1.0,
    entropies: Entropies = "rollout",
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
    lengths: what a microbatch of short rows may be cut to.
    temperature: the sampling's, so that probabilities are those that were sampled from.
    entropies: "rollout": those recorded while sampling; "recomputed": by a first,
      forward-only pass of the current policy over the batch.
    compute_dtype: operand type of the matrix products.
    remat: recompute layers in the backward pass rather than keep their activations.

  Returns:
    The new state, and float32 scalars, means over the minibatches.
  """
  microbatch.check(batch.tokens.shape[0], size, minibatches)
  stats = functools.partial(
      token_stats, temperature=temperature, compute_dtype=compute_dtype, remat=remat
  )
  entropy = batch.behavior_entropy
  if entropies == "recomputed":
    entropy = recompute_entropy(stats, lora.attach(base, state.model), batch, size)
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

  shares = signal._replace(weights=microbatch.share(signal.weights, size, minibatches))
  structure = jax.tree.structure((batch, shares))
  pieces = microbatch.split((batch, shares), batch.steps > 0, size)
  state, updates = jax.lax.scan(update, state, pieces.minibatches(minibatches))
  updates = {name: jnp.mean(x) for name, x in updates.items()}
  return state, {**metrics, **updates, "update/skipped": state.skipped.astype(jnp.float32)}


def recompute_entropy(stats, model: Decoder, batch: Batch, size: int) -> Float[Array, "B T"]:
  """The current policy's entropies over the batch, `size` rows at a time."""
  structure = jax.tree.structure(batch)
  pieces = microbatch.split(batch, batch.steps > 0, size)
  entropy = jax.lax.map(lambda x: stats(model, structure.unflatten(x)).entropy, pieces.leaves)
  return microbatch.join(entropy)
