"""The style of all figures, and how they are saved."""

from collections.abc import Iterator, Sequence
import contextlib
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from empg_jax.io import paths

# Okabe and Ito's colours, which colour-blind readers can distinguish.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#666666"

_STYLE = {
  "font.size": 9.0,
  "axes.titlesize": 10.0,
  "axes.titlelocation": "left",
  "axes.spines.top": False,
  "axes.spines.right": False,
  "axes.edgecolor": GREY,
  "axes.grid": True,
  "axes.axisbelow": True,
  "grid.color": "#E6E6E6",
  "grid.linewidth": 0.7,
  "xtick.color": GREY,
  "ytick.color": GREY,
  "legend.frameon": False,
  "lines.linewidth": 1.6,
  "lines.markersize": 4.5,
  "figure.facecolor": "white",
  "savefig.dpi": 150,
  "svg.hashsalt": "empg_jax",  # equal figures are equal files
}


@contextlib.contextmanager
def styled() -> Iterator[None]:
  """The context in which figures are made and saved."""
  with matplotlib.rc_context(_STYLE):
    yield


def panels(count: int, *, width: float = 3.6, height: float = 2.9) -> tuple[Figure, list[Axes]]:
  """A figure with `count` panels in rows of at most two; the size of a panel is in inches."""
  columns = min(count, 2)
  rows = -(-count // columns)
  figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
  axes = [figure.add_subplot(rows, columns, i + 1) for i in range(count)]
  return figure, axes


def legend(figure: Figure, axes: Axes, note: str = "") -> None:
  """Adds one legend below all panels, and a note on what is drawn."""
  handles, labels = axes.get_legend_handles_labels()
  if len(labels) > 1:
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 3))
  if note:
    caption(figure, note)


def caption(figure: Figure, note: str) -> None:
  """Adds a line of text below all panels."""
  figure.supxlabel(note, fontsize=8, color=GREY)


def save(figure: Figure, folder: paths.Path, name: str) -> Sequence[paths.Path]:
  """Writes FOLDER/NAME.png and FOLDER/NAME.svg."""
  files = [f"{name}.png", f"{name}.svg"]
  undated: list[dict[str, Any]] = [{}, {"Date": None}]
  with paths.filled(folder) as draft:
    for file, metadata in zip(files, undated):
      figure.savefig(draft / file, metadata=metadata)
  return [paths.of(folder) / file for file in files]
