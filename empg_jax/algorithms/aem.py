"""Adaptive Entropy Modulation (arXiv 2605.00425) around another algorithm.

    Hn = (H - min H) / (max H - min H + eps)     H: mean token entropy of a step
    g  = exp(-k Hn) / mean exp(-k Hn)            min, max and mean over the steps of a group
    A' = A g

EMPG's scale with statistics over the group of one task, and without a bonus.
"""

from jaxtyping import Array, Float

from empg_jax.algorithms import Algorithm, Metrics, Signal
from empg_jax.core import masked
from empg_jax.core.group_modulation import group_scale
from empg_jax.types import Batch


def make(*, base: Algorithm, k: float = 1.0) -> Algorithm:
  """`base` with its advantages scaled by step entropy; the loss is that of `base`.

  Args:
    base: computes the advantages.
    k: how strongly entropy scales a step's advantage; 0: not at all.
  """

  def scale(batch: Batch, entropy: Float[Array, "B T"]) -> tuple[Float[Array, "B T"], Metrics]:
    found: tuple[Array, Metrics] = group_scale(
      entropy, batch.steps, batch.group_ids, batch.episode_ids, k=k
    )
    return found

  def advantages(batch: Batch, entropy: Float[Array, "B T"]) -> tuple[Signal, Metrics]:
    signal, metrics = base.advantages(batch, entropy)
    g, statistics = scale(batch, entropy)
    scaled = signal.advantages * g
    statistics |= masked.spread("aem/advantage", scaled, batch.steps > 0)
    return signal._replace(advantages=scaled), {**metrics, **statistics}

  def parts(batch: Batch, entropy: Float[Array, "B T"]) -> dict[str, Float[Array, "B T"]]:
    signal, _ = base.advantages(batch, entropy)
    return {"g": scale(batch, entropy)[0], "base": signal.advantages}

  return base._replace(advantages=advantages, parts=parts)
