"""Entropy-Modulated Policy Gradients (arXiv 2509.09265) around another algorithm."""

from jaxtyping import Array, Float

from empg_jax.algorithms import Algorithm, Metrics, Signal
from empg_jax.core import modulation
from empg_jax.types import Batch


def make(
  *, base: Algorithm, k: float = 1.0, k_future: float = 1.0, zeta: float = 0.05
) -> Algorithm:
  """`base` with its advantages modulated by step entropy; the loss is that of `base`.

  Args:
    base: computes normalised advantages: zeta is relative to them.
    k: how strongly entropy scales a step's advantage; 0: not at all.
    k_future: how strongly the next step's entropy lowers its bonus.
    zeta: weight of the bonus for a clear next step; 0: none.
  """
  strengths = dict(k=k, k_future=k_future, zeta=zeta)

  def advantages(batch: Batch, entropy: Float[Array, "B T"]) -> tuple[Signal, Metrics]:
    signal, metrics = base.advantages(batch, entropy)
    modulated, _, statistics = modulation.modulate(
      signal.advantages, entropy, batch.steps, episode_ids=batch.episode_ids, **strengths
    )
    return signal._replace(advantages=modulated), {**metrics, **statistics}

  def parts(batch: Batch, entropy: Float[Array, "B T"]) -> dict[str, Float[Array, "B T"]]:
    signal, _ = base.advantages(batch, entropy)
    _, found, _ = modulation.modulate(
      signal.advantages, entropy, batch.steps, episode_ids=batch.episode_ids, **strengths
    )
    return dict(zip(found._fields, found))

  return base._replace(advantages=advantages, parts=parts)
