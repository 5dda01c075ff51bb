"""Reductions over the entries where a mask is True; each is 0 if there are none."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def mean(x: Float[Array, "*shape"], where: Bool[Array, "*shape"]) -> Float[Array, ""]:
  """The mean."""
  count = jnp.sum(where, dtype=x.dtype)
  return jnp.sum(jnp.where(where, x, 0)) / jnp.maximum(count, 1)


def std(x: Float[Array, "*shape"], where: Bool[Array, "*shape"]) -> Float[Array, ""]:
  """The standard deviation (population)."""
  return jnp.sqrt(mean((x - mean(x, where)) ** 2, where))


def normalized(
  x: Float[Array, "*shape"], where: Bool[Array, "*shape"], *, ddof: int = 0, eps: float = 1e-6
) -> Float[Array, "*shape"]:
  """(x - mean) / (std + eps), std over n - ddof; 0 elsewhere, exactly 0 if all are equal."""
  x = jnp.where(where, x - minimum(x, where), 0)  # else equal entries amplify rounding
  count = jnp.sum(where, dtype=x.dtype)
  deviation = std(x, where) * jnp.sqrt(count / jnp.maximum(count - ddof, 1))
  return jnp.where(where, (x - mean(x, where)) / (deviation + eps), 0)


def minimum(x: Float[Array, "*shape"], where: Bool[Array, "*shape"]) -> Float[Array, ""]:
  """The minimum."""
  low = jnp.min(x, where=where, initial=jnp.inf)
  return jnp.where(jnp.any(where), low, 0)


def maximum(x: Float[Array, "*shape"], where: Bool[Array, "*shape"]) -> Float[Array, ""]:
  """The maximum."""
  return -minimum(-x, where)


def spread(
  name: str, x: Float[Array, "*shape"], where: Bool[Array, "*shape"]
) -> dict[str, Float[Array, ""]]:
  """Minimum, maximum, mean and deviation, as the metrics `name`_min and so on."""
  return {
    f"{name}_min": minimum(x, where),
    f"{name}_max": maximum(x, where),
    f"{name}_mean": mean(x, where),
    f"{name}_std": std(x, where),
  }
