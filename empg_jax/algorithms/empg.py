"""Entropy-Modulated Policy Gradients (arXiv 2509.09265) around another algorithm."""

from empg_jax.algorithms import Algorithm
from empg_jax.core import modulation


def make(
  *, base: Algorithm, k: float = 1.0, k_future: float = 1.0, zeta: float = 0.05
) -> Algorithm:
  """`base` with its advantages modulated by step entropy; its loss stays.

  Args:
    base: gives advantages that are normalised already: zeta is relative to them.
    k: how strongly entropy scales a step's advantage; 0: not at all.
    k_future: how strongly the next step's entropy lowers its bonus.
    zeta: weight of the bonus for a clear next step; 0: none.
  """
  strengths = dict(k=k, k_future=k_future, zeta=zeta)

  def advantages(batch, entropy):
    signal, metrics = base.advantages(batch, entropy)
    modulated, _, statistics = modulation.modulate(
      signal.advantages, entropy, batch.steps, episode_ids=batch.episode_ids, **strengths
    )
    return signal._replace(advantages=modulated), {**metrics, **statistics}

  def parts(batch, entropy):
    signal, _ = base.advantages(batch, entropy)
    _, found, _ = modulation.modulate(
      signal.advantages, entropy, batch.steps, episode_ids=batch.episode_ids, **strengths
    )
    return found._asdict()

  return base._replace(advantages=advantages, parts=parts)
