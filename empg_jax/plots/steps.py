"""Figures of scored steps: the paper's claims on entropy, gradients and g, on your own run."""

from collections.abc import Callable

from matplotlib.figure import Figure
import numpy as np

from empg_jax.io import words
from empg_jax.plots import style
from empg_jax.plots.scoring import Steps

BINS = 20


def entropy_change(steps: Steps, k: float, about: str) -> Figure:
  """Mean change of step entropy by initial step entropy: figure 3 of the paper."""
  del k
  order = _bins(steps.entropy)
  change = steps.entropy_after - steps.entropy
  mean = np.array([change[part].mean() for part in order])
  error = [1.96 * change[part].std() / np.sqrt(len(part)) for part in order]
  figure, (ax,) = style.panels(1, width=5.2, height=3.2)
  width = 100 / len(order)
  centres = (np.arange(len(order)) + 0.5) * width
  colours = np.where(mean < 0, style.COLOURS[0], style.COLOURS[1])
  ax.bar(centres, mean, width=0.8 * width, color=colours)
  ax.errorbar(centres, mean, error, fmt="none", ecolor=style.GREY, elinewidth=0.8)
  ax.axhline(0, color=style.GREY, lw=0.8)
  ax.set(
    xlabel="percentile of initial step entropy", ylabel="mean change of step entropy (nats)",
    xlim=(0, 100),
  )  # fmt: skip
  ax.grid(axis="x", visible=False)
  sizes = sorted({len(part) for part in order})
  each = f"{sizes[0]} or " * (len(sizes) > 1) + words.count(sizes[-1], "step")
  style.caption(figure, f"{about}, {each} a bar; lines: 95% intervals of the means")
  return figure


def gradient_by_entropy(steps: Steps, k: float, about: str) -> Figure:
  """Proposition 1 of the paper on real steps: confident steps have small gradients."""
  del k
  figure, (ax,) = style.panels(1, width=5.2, height=3.4)
  blue, red = style.COLOURS[:2]
  ax.plot(
    steps.entropy, steps.gradient, ".", color=blue, ms=5, alpha=0.4, mew=0, rasterized=True,
    label=r"a step, expected: mean of $1-\sum_j\pi_j^2$",
  )  # fmt: skip
  order = _bins(steps.entropy)
  ax.plot(
    [steps.entropy[part].mean() for part in order],
    [steps.gradient_drawn[part].mean() for part in order],
    "o", color=red, ms=5, markerfacecolor="white",
    label=r"mean of a twentieth of the steps, of the tokens drawn: $\|e_a-\pi\|^2$",
  )  # fmt: skip
  curve = np.linspace(0, max(float(steps.entropy.max()), 1e-3) * 1.02, 200)
  ax.plot(curve, -np.expm1(-curve), color=style.GREY, lw=1, label=r"bound: $1-e^{-H}$")
  ax.set(
    xlabel="step entropy H (nats)", ylabel="squared gradient norm\nof a token, by its logits",
    xlim=(0, None), ylim=(0, None),
  )  # fmt: skip
  ax.legend(loc="upper left", bbox_to_anchor=(0, -0.17), fontsize=8, markerscale=1.5)
  style.caption(figure, about)
  return figure


def scale_distribution(steps: Steps, k: float, about: str) -> Figure:
  """The distribution of EMPG's g over the steps of one batch, under either policy."""
  figure, (ax,) = style.panels(1, width=5.2, height=3.2)
  found = [_scale(entropy, k) for entropy in (steps.entropy, steps.entropy_after)]
  found = [g[np.isfinite(g)] for g in found]  # a diverged policy has none
  edges = np.histogram_bin_edges(np.concatenate(found), 40)
  names = ("initial policy", "trained policy")
  for g, name, colour, filled in zip(found, names, style.COLOURS, (True, False)):
    weights = np.full(len(g), 100 / max(len(g), 1))
    ax.hist(
      g, edges, weights=weights, color=colour, label=name, alpha=0.45 if filled else 1,
      histtype="stepfilled" if filled else "step", lw=1.6,
    )  # fmt: skip
  ax.axvline(1, color=style.GREY, lw=0.8, ls=":")
  ax.set(xlabel=f"g of a step (mean 1, k = {k:g})", ylabel="steps (%)")
  ax.legend(loc="upper left")
  style.caption(figure, about)
  return figure


FIGURES: dict[str, Callable[[Steps, float, str], Figure]] = {
  "entropy_change": entropy_change,
  "gradient_by_entropy": gradient_by_entropy,
  "g_distribution": scale_distribution,
}


def _bins(entropy: np.ndarray) -> list[np.ndarray]:
  """Indices of the steps in at most BINS bins of increasing entropy, no bin empty."""
  return np.array_split(np.argsort(entropy, kind="stable"), min(BINS, len(entropy)))


def _scale(entropy: np.ndarray, k: float) -> np.ndarray:
  """g of the steps of one batch: that of core.modulation, in NumPy."""
  normal = (entropy - entropy.min()) / (np.ptp(entropy) + 1e-8)
  g = np.exp(-k * normal)
  return g / g.mean()
