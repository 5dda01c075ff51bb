"""EMPG: advantages modulated by step entropy (arXiv 2509.09265).

H_t is the mean token entropy of step t. Min, max and mean are over all steps
of the batch, each counted once:

    Hn_t  = (H_t - min H) / (max H - min H + eps)
    g_t   = exp(-k Hn_t) / mean exp(-k Hn)            self-calibrating scale
    f_t   = exp(-k' Hn_t)                             future clarity
    A_mod = A g_t + zeta f_{t+1}                      no bonus without a next step
    A_fin = A_mod - mean A_mod
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from empg_jax.core import explicit_mesh, masked, steps, validation
from empg_jax.types import Metrics, Scalar, StepGrid

EPS = 1e-8


class Parts(NamedTuple):
  """The terms of each step's advantage; the letters are those of the equations above."""

  entropy: Float[Array, "..."]
  """H."""
  normal_entropy: Float[Array, "..."]
  """Hn."""
  g: Float[Array, "..."]
  """The factor of A."""
  bonus: Float[Array, "..."]
  """zeta f of the next step; 0 where there is none."""
  base: Float[Array, "..."]
  """A, the mean over the step's tokens."""
  advantage: Float[Array, "..."]
  """A_fin."""


@jax.jit
def modulate_advantages(
  advantages: Float[Array, "B"] | Float[Array, "B T"],
  token_entropy: Float[Array, "B T"],
  step_mask: Bool[Array, "B T"] | Int[Array, "B T"],
  *,
  k: Scalar = 1.0,
  k_future: Scalar = 1.0,
  zeta: Scalar = 0.05,
  episode_ids: Int[Array, "B"] | None = None,
) -> Float[Array, "B T"]:
  """The advantages A_fin of the equations above, one per token.

  Args:
    advantages: A, one per row (after any group normalisation: zeta is
      relative to it) or one per token.
    token_entropy: of the behaviour policy, in nats; read at the agent's tokens.
    step_mask: bool: each maximal run of True in a row is a step; or int: 0 or less is
      not the agent's token, s >= 1 a token of its episode's step s.
    k: how strongly entropy scales a step's advantage; 0: not at all.
    k_future: how strongly the next step's entropy lowers its bonus.
    zeta: weight of the bonus for a clear next step; 0: none.
    episode_ids: the episode of each row, where episodes have several rows (one
      row a turn). None: every row is its own episode; this is cheaper, because
      rows are sorted one by one.

  Returns:
    Float32; 0 on tokens that are not the agent's. Without any step in the batch,
    returns the advantages unchanged. No gradient flows through the result.
  """
  strengths = dict(k=k, k_future=k_future, zeta=zeta)
  modulated: Array = modulate(
    advantages, token_entropy, step_mask, episode_ids=episode_ids, **strengths
  )[0]
  return modulated


@jax.jit
def modulate(
  advantages: Float[Array, "B"] | Float[Array, "B T"],
  token_entropy: Float[Array, "B T"],
  step_mask: Bool[Array, "B T"] | Int[Array, "B T"],
  *,
  k: Scalar,
  k_future: Scalar,
  zeta: Scalar,
  episode_ids: Int[Array, "B"] | None = None,
) -> tuple[Float[Array, "B T"], Parts, Metrics]:
  """As `modulate_advantages`, and also returns their terms and the batch's statistics.

  Each of the Parts is [B, T]: a token has its step's value, other tokens have 0.
  """
  validation.scalars(k=k, k_future=k_future, zeta=zeta)
  _check(advantages, token_entropy, step_mask, episode_ids)

  def on_steps(
    advantages: Array,
    entropy: Array,
    numbers: Array,
    episode_ids: Array | None,
    *strengths: Scalar,
  ) -> tuple[Array, Parts, Metrics]:
    numbers = steps.numbered(numbers)
    grid, is_agent = steps.step_grid(numbers, episode_ids), numbers > 0
    advantages = _on_tokens(advantages, entropy.shape)
    parts, shift = _parts(advantages, entropy, is_agent, grid, *strengths)
    of_tokens = Parts(*(steps.to_tokens(x, grid, entropy.shape) for x in parts))
    final = advantages * of_tokens.g + steps.to_tokens(shift, grid, entropy.shape)
    final = jnp.where(is_agent, final, 0)
    final = jnp.where(jnp.any(grid.exists), final, advantages)
    return final, of_tokens, _metrics(parts, is_agent, grid)

  arrays = jax.lax.stop_gradient(
    (advantages, token_entropy, step_mask, episode_ids, k, k_future, zeta)
  )
  return explicit_mesh.automatic(on_steps, *arrays, like=(token_entropy, token_entropy, None))


def normalize_entropy(
  entropy: Float[Array, "E S"], exists: Bool[Array, "E S"]
) -> Float[Array, "E S"]:
  """Hn: the entropy scaled to [0, 1], by min-max over all steps of the batch."""
  low = masked.minimum(entropy, exists)
  high = masked.maximum(entropy, exists)
  return jnp.where(exists, (entropy - low) / (high - low + EPS), 0)


def gradient_scale(
  h: Float[Array, "E S"], exists: Bool[Array, "E S"], k: Scalar
) -> Float[Array, "E S"]:
  """g: above 1 for confident steps, below 1 for uncertain ones, mean 1."""
  g = jnp.exp(-k * h)
  return jnp.where(exists, g / masked.mean(g, exists), 0)


def future_clarity(h: Float[Array, "E S"], grid: StepGrid, k_future: Scalar) -> Float[Array, "E S"]:
  """f of the next step: 1 where that is the clearest step; 0 where there is none."""
  return steps.next_step(jnp.exp(-k_future * h), grid)


def _parts(
  advantages: Float[Array, "B T"],
  entropy: Float[Array, "B T"],
  is_agent: Bool[Array, "B T"],
  grid: StepGrid,
  k: Scalar,
  k_future: Scalar,
  zeta: Scalar,
) -> tuple[Parts, Float[Array, "E S"]]:
  """Parts of the grid's slots [E, S], and the term added to A g: bonus - mean A_mod."""
  entropy, exists = entropy.astype(jnp.float32), grid.exists
  # Relative to the lowest: the means of equal entropies are then exactly equal,
  # and min-max cannot amplify rounding to the whole range.
  lowest = masked.minimum(entropy, is_agent)
  above = steps.step_mean(jnp.where(is_agent, entropy - lowest, 0), grid)
  h = normalize_entropy(above, exists)
  g = gradient_scale(h, exists, k)
  bonus = zeta * future_clarity(h, grid, k_future)
  base = steps.step_mean(jnp.where(is_agent, advantages, 0), grid)
  modulated = base * g + bonus
  shift = bonus - masked.mean(modulated, exists)
  return Parts(above + lowest, h, g, bonus, base, base * g + shift), shift


def _metrics(parts: Parts, is_agent: Bool[Array, "B T"], grid: StepGrid) -> Metrics:
  bonus, h, exists = parts.bonus, parts.normal_entropy, grid.exists
  return {
    "empg/steps": jnp.sum(exists, dtype=jnp.float32),
    "empg/tokens": jnp.sum(is_agent, dtype=jnp.float32),
    **masked.spread("empg/entropy", parts.entropy, exists),
    **masked.spread("empg/g", parts.g, exists),
    **masked.spread("empg/advantage", parts.advantage, exists),
    "empg/bonus_mean": masked.mean(bonus, exists),
    "empg/bonus_share": masked.mean((bonus > 0).astype(jnp.float32), exists),
    "empg/compressed": masked.mean((h < 0.05).astype(jnp.float32), exists),
  }


def _on_tokens(
  advantages: Float[Array, "B"] | Float[Array, "B T"], shape: tuple[int, ...]
) -> Float[Array, "B T"]:
  advantages = advantages.astype(jnp.float32)
  return jnp.broadcast_to(advantages[:, None], shape) if advantages.ndim == 1 else advantages


def _check(
  advantages: Array, token_entropy: Array, step_mask: Array, episode_ids: Array | None
) -> None:
  validation.arrays(token_entropy=token_entropy)
  shape = token_entropy.shape
  if len(shape) != 2:
    raise ValueError(f"token_entropy has shape {shape}; it must be [B, T].")
  validation.shape("step_mask", step_mask, ("[B, T]", shape))
  validation.shape("advantages", advantages, ("[B]", shape[:1]), ("[B, T]", shape))
  if step_mask.dtype != bool:
    validation.integers("step_mask", step_mask)
  if episode_ids is None:
    return
  validation.ids("episode_ids", episode_ids, shape[0])
  if step_mask.dtype == bool:
    raise ValueError(
      "episode_ids needs step numbers, and step_mask is bool, which does not give a"
      " row's step in its episode; give step_mask as step numbers from 1."
    )
