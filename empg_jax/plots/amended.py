"""Marks of changed settings: a thin line at the step of the change, with the new value."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from empg_jax.plots import style
from empg_jax.plots.runs import Curve
from empg_jax.workdir.resume import Amendment

_WIDTH = 44  # of a caption, in characters


def draw(ax: Axes, curves: Sequence[Curve]) -> None:
  """Marks each amendment of the curves' runs once, on an axis of training steps."""
  noted: dict[int, dict[str, None]] = {}
  for curve in curves:
    for run in curve.runs:
      for amendment in run.amendments:
        noted.setdefault(amendment.step, {})[caption(amendment)] = None
  for step in sorted(noted):
    ax.axvline(step, color=style.GREY, lw=0.8, ls=(0, (4, 2)), zorder=0.5)
    ax.text(
      step, 0.99, "\n".join(noted[step]), transform=ax.get_xaxis_transform(), rotation=90,
      fontsize=6, color=style.GREY, ha="left", va="top", linespacing=1.1,
    )  # fmt: skip


def caption(amendment: Amendment) -> str:
  """The change as text, such as "learning_rate 0.0003 → 0.0001"."""
  text = str(amendment).partition(": ")[2]
  text = text.removeprefix(f"{amendment.change.key.rpartition('.')[0]}.")
  return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
