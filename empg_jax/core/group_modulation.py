"""Step entropies relative to their group, where `modulation` uses the whole batch."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from empg_jax.core import explicit_mesh, masked, steps as grids, validation
from empg_jax.core.advantages import rank
from empg_jax.core.modulation import EPS
from empg_jax.types import Metrics, Scalar


@jax.jit
def group_scale(
  token_entropy: Float[Array, "B T"],
  steps: Int[Array, "B T"],
  group_ids: Int[Array, "B"],
  episode_ids: Int[Array, "B"],
  *,
  k: Scalar,
) -> tuple[Float[Array, "B T"], Metrics]:
  """g of each token's step, from min, max and mean over the steps of its group.

      Hn = (H - min H) / (max H - min H + eps),  g = exp(-k Hn) / mean exp(-k Hn)

  Args:
    token_entropy: of the behaviour policy, in nats; read at the agent's tokens.
    steps: 0: not the agent's token; s >= 1: a token of its episode's step s.
    group_ids: equal for the rows of one task.
    episode_ids: the episode of each row.
    k: how strongly entropy scales.

  Returns:
    Float32, 0 on tokens that are not the agent's, and metrics over the steps. No
    gradient flows through it.
  """
  validation.integers("steps", steps)
  for name, ids in (("group_ids", group_ids), ("episode_ids", episode_ids)):
    validation.ids(name, ids, steps.shape[0])

  def on_steps(
    entropy: Array, steps: Array, group_ids: Array, episode_ids: Array, k: Scalar
  ) -> tuple[Array, Metrics]:
    grid = grids.step_grid(steps, episode_ids)
    group = rank(group_ids)
    of_tokens = jnp.broadcast_to(group[:, None], steps.shape)
    exists, of_steps = grid.exists[0], grids.step_value(of_tokens, grid)[0]

    def over_groups(reduction: Callable[..., Array], x: Array, empty: Scalar) -> Array:
      x = jnp.where(exists, x, empty)
      return reduction(x, of_steps, len(group))[of_steps]

    # Relative to the group's lowest, for the reason that modulation._parts gives.
    above = jnp.where(steps > 0, entropy - _lowest(entropy, steps, group), 0)
    h = grids.step_mean(above, grid)[0]
    low = over_groups(jax.ops.segment_min, h, jnp.inf)
    high = over_groups(jax.ops.segment_max, h, -jnp.inf)
    g = jnp.where(exists, jnp.exp(-k * (h - low) / (high - low + EPS)), 0)
    count = over_groups(jax.ops.segment_sum, jnp.ones_like(g), 0)
    g = jnp.where(exists, g * count / over_groups(jax.ops.segment_sum, g, 0), 0)
    whole = grids.step_mean(jnp.where(steps > 0, entropy, 0), grid)[0]
    metrics = {
      **masked.spread("aem/entropy", whole, exists),
      **masked.spread("aem/g", g, exists),
    }
    return grids.to_tokens(g[None], grid, steps.shape), metrics

  arrays = jax.lax.stop_gradient((token_entropy, steps, group_ids, episode_ids, k))
  return explicit_mesh.automatic(on_steps, *arrays, like=(token_entropy, None))


def _lowest(
  entropy: Float[Array, "B T"], steps: Int[Array, "B T"], group: Int[Array, "B"]
) -> Float[Array, "B 1"]:
  """[B, 1]: the lowest entropy of the agent's tokens in the row's group."""
  of_rows = jnp.min(jnp.where(steps > 0, entropy, jnp.inf), axis=1)
  return jax.ops.segment_min(of_rows, group, len(group))[group][:, None]
