"""Behaviour cloning: maximises the likelihood of demonstrated replies."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
import optax

from empg_jax.data.cloning import Rows
from empg_jax.models import lora
from empg_jax.models.decoder import Decoder
from empg_jax.training import microbatch
from empg_jax.training.score import token_stats
from empg_jax.training.state import TrainState, apply_gradient


@functools.partial(
  jax.jit, static_argnames=("optimizer", "size", "compute_dtype"), donate_argnames=("state",)
)
def sft_step(
  state: TrainState,
  rows: Rows,
  base: Decoder | None = None,
  *,
  optimizer: optax.GradientTransformation,
  size: int,
  compute_dtype: str,
) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
  """One update on the weighted mean of -log p of the rows, `size` rows at a time.

  If the state holds adapters, `base` is their frozen decoder.

  Metrics: `loss`, `reply_logprob` (mean over the tokens of weight 1), and the update's.
  """
  total = jnp.maximum(jnp.sum(rows.weights), 1.0)
  in_reply = rows.weights == 1
  replies = jnp.maximum(jnp.sum(in_reply), 1)

  def loss(trained, rows):
    model = lora.attach(base, trained)
    logprobs, _ = token_stats(model, rows, compute_dtype=compute_dtype)
    logprobs = jnp.where(rows.weights > 0, logprobs, 0)  # padding may give NaN
    value = -jnp.sum(rows.weights * logprobs) / total
    of_replies = jnp.sum(jnp.where(rows.weights == 1, logprobs, 0.0)) / replies
    return value, {"loss": value, "reply_logprob": of_replies}

  pieces = microbatch.split(rows, rows.weights > 0, size)
  metrics, gradient = microbatch.sum_gradients(loss, state.model, pieces, jax.tree.structure(rows))
  state, update = apply_gradient(state, optimizer, gradient, metrics["loss"])
  return state, {**metrics, **update}
