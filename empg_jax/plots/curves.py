"""Figures from metrics.jsonl: over training, and by task type before and after training."""

from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
import numpy as np

from empg_jax.io import words
from empg_jax.plots import amended, intervals, style
from empg_jax.plots.drift import Drift
from empg_jax.plots.runs import Curve, Series, series

_BAND = "line: mean; band: lowest to highest of the seeds"
_INTERVAL = "band of one seed: 95% interval over the tasks played"
_BARS = "lowest to highest of the seeds, or of one seed the 95% interval over its tasks"
_SMOOTHED = 5  # steps of the running mean
_SUCCESS = "success (% of episodes)"


class NothingToDraw(Exception):
  """The runs lack the metrics of a figure; the message names them."""


def learning_curves(curves: Sequence[Curve]) -> Figure:
  """Success on the splits of the evaluation, over training."""
  splits = _splits(curves)
  figure, axes = style.panels(len(splits))
  for ax, split in zip(axes, splits):
    _draw(ax, curves, f"eval/{split}/success", scale=100.0, marked=True)
    ax.set(title=split, ylabel=_SUCCESS, ylim=(0, 100))
  _finish(figure, axes, curves, _band(curves, splits))
  return figure


def training(curves: Sequence[Curve]) -> Figure:
  """Success, length, entropy and gradient norm of the training steps."""
  shown = (
    ("train/success", _SUCCESS, 100.0),
    ("train/turns", "turns of an episode", 1.0),
    ("train/entropy_mean", "step entropy (nats)", 1.0),
    ("update/grad_norm", "gradient norm", 1.0),
  )
  figure, axes = style.panels(len(shown), height=2.3)
  for ax, (metric, label, scale) in zip(axes, shown):
    _draw(ax, curves, metric, scale=scale, smooth=True)
    ax.set(ylabel=label, ylim=(0, 100 if scale == 100 else None))
  smoothed = any(_is_long(found) for c in curves if (found := series(c, "train/success")))
  note = f"thin: each step; thick: mean over {words.count(_SMOOTHED, 'step')}" if smoothed else ""
  _finish(figure, axes, curves, _band(curves), note)
  return figure


def measured_kl(curves: Sequence[Curve]) -> list[Curve]:
  """The curves whose runs have a KL penalty, and so measured the KL in training."""
  return [c for c in curves if (s := series(c, "loss/kl")) is not None and s.high.max() > 0]


def kl(curves: Sequence[Curve]) -> Figure:
  """KL to the initial policy: figure 2 of the paper."""
  measured = measured_kl(curves)
  if not measured:
    raise NothingToDraw("no run has a KL penalty, so no run measured its KL in training")
  figure, axes = style.panels(1, width=5.0, height=3.2)
  _draw(axes[0], measured, "loss/kl")
  axes[0].set(ylabel="KL to the initial policy (nats a token, k3)", ylim=(0, None))
  _finish(figure, axes, measured, _band(measured))
  return figure


def kl_of_episodes(curves: Sequence[Curve], found: Mapping[str, Drift]) -> Figure:
  """The same measured on episodes of each curve's first run; `found` is by the curves' labels."""
  if not found:
    raise NothingToDraw("no run has a KL penalty or episodes of a training step")
  figure, axes = style.panels(1, width=5.0, height=3.2)
  for number, curve in enumerate(curves):
    if curve.label in found:
      steps, mean, error = found[curve.label]
      colour = style.COLOURS[number % len(style.COLOURS)]
      axes[0].errorbar(steps, mean, 1.96 * error, fmt="o-", color=colour, label=curve.label)
  axes[0].set(ylabel="KL to the initial policy (nats a token)", ylim=(0, None))
  _steps_below(axes, curves)
  only = f"{curves[0].label}, " if len(curves) == 1 else ""
  style.legend(figure, axes[0], f"{only}one seed, on its training episodes; bars: 95% intervals")
  return figure


def scales(curves: Sequence[Curve]) -> Figure:
  """The range of EMPG's g over training, one panel for each curve."""
  drawn = [c for c in curves if series(c, "empg/g_min") is not None]
  if not drawn:
    raise NothingToDraw("no run has EMPG's scales")
  figure, axes = style.panels(len(drawn), width=4.2)
  for ax, curve in zip(axes, drawn):
    low, mean, std, high = (
      series(curve, f"empg/g_{name}") for name in ("min", "mean", "std", "max")
    )
    ax.fill_between(
      low.steps, low.low, high.high, color=style.COLOURS[5], alpha=0.3, lw=0,
      label="lowest to highest",
    )  # fmt: skip
    ax.fill_between(
      mean.steps, mean.mean - std.mean, mean.mean + std.mean, color=style.COLOURS[0],
      alpha=0.45, lw=0, label="mean ± std",
    )  # fmt: skip
    ax.axhline(1, color=style.GREY, lw=0.8, ls=":")
    ax.set(title=curve.label, ylabel="g of the steps of a batch", ylim=(0, None))
    _steps_below([ax], [curve])
  style.legend(figure, axes[0])
  return figure


def success_by_type(curves: Sequence[Curve]) -> Figure:
  """Success by task type at the first and last evaluation, a row for each type and curve."""
  splits = _splits(curves)
  figure, axes = style.panels(len(splits), width=4.4, height=0.9 + 0.3 * _rows(curves, splits))
  for ax, split in zip(axes, splits):
    kinds = _kinds(curves, split)
    for place, kind in enumerate(kinds):
      for number, curve in enumerate(curves):
        name = f"eval/{split}/success" + f"/{kind}" * (kind != "all")
        _dumbbell(ax, curve, name, place + 0.7 * number / len(curves), number)
      ax.text(1.02, place, _games(curves, split, kind), transform=ax.get_yaxis_transform(),
              fontsize=7, color=style.GREY, va="center")  # fmt: skip
    ax.set_yticks(np.arange(len(kinds)) + 0.35 * (len(curves) - 1) / len(curves))
    ax.set_yticklabels([kind.replace("_", " ") for kind in kinds])
    ax.set(title=split, xlabel=_SUCCESS, xlim=(-3, 103))
    ax.set_ylim(len(kinds) - 0.3 / len(curves), -0.5)
    ax.grid(axis="y", visible=False)
  for ax in axes[1:]:
    if _kinds(curves, splits[0]) == kinds:
      ax.tick_params(labelleft=False)
  note = "hollow: first evaluation; filled: last; mean of the seeds; n: episodes of one evaluation"
  style.legend(figure, axes[0], f"{note}\nbar at the last: {_BARS}")
  return figure


FIGURES: dict[str, Callable[[Sequence[Curve]], Figure]] = {
  "learning_curves": learning_curves,
  "training": training,
  "kl": kl,
  "g_over_training": scales,
  "success_by_type": success_by_type,
}


def _splits(curves: Sequence[Curve]) -> list[str]:
  splits = dict.fromkeys(s for c in curves for s in c.runs[0].config.get("evaluation.splits", ()))
  found = [s for s in splits if any(series(c, f"eval/{s}/success") for c in curves)]
  if not found:
    raise NothingToDraw("no run has an evaluation")
  return found


def _kinds(curves: Sequence[Curve], split: str) -> list[str]:
  prefix = f"eval/{split}/success/"
  names = {name for c in curves for row in c.runs[0].rows for name in row}
  return [*sorted(n.removeprefix(prefix) for n in names if n.startswith(prefix)), "all"]


def _rows(curves: Sequence[Curve], splits: Sequence[str]) -> int:
  return max(len(_kinds(curves, split)) for split in splits) * len(curves)


def _games(curves: Sequence[Curve], split: str, kind: str) -> str:
  """The number of episodes of a task type in an evaluation, if the metrics have it."""
  name = f"eval/{split}/episodes" + f"/{kind}" * (kind != "all")
  found = [s for c in curves if (s := series(c, name)) is not None]
  return f"n={found[0].mean[-1]:.0f}" if found else ""


def _interval(curve: Curve, metric: str, found: Series) -> tuple[np.ndarray, np.ndarray] | None:
  """The lowest and the highest seed; for the success of a single seed, the interval over tasks."""
  if len(curve.runs) > 1:
    return found.low, found.high
  played = series(curve, metric.replace("/success", "/episodes"))
  if not metric.startswith("eval/") or played is None:
    return None  # a training step has few tasks, so its episodes are not independent
  n = dict(zip(played.steps.tolist(), played.mean))
  if not all(n.get(step) for step in found.steps.tolist()):
    return None
  return intervals.wilson(found.mean, np.array([n[step] for step in found.steps.tolist()]))


def _band(curves: Sequence[Curve], splits: Sequence[str] = ()) -> str:
  """A note on the meaning of a figure's bands."""
  notes = [_BAND] if any(len(curve.runs) > 1 for curve in curves) else []
  alone = [curve for curve in curves if len(curve.runs) == 1]
  if any(series(curve, f"eval/{split}/episodes") for curve in alone for split in splits):
    notes.append(_INTERVAL)
  return "; ".join(notes)


def _is_long(found: Series) -> bool:
  return len(found.steps) >= 2 * _SMOOTHED


def _smoothed(values: np.ndarray) -> np.ndarray:
  """The running mean around each step, over fewer steps at either end."""
  kernel = np.ones(_SMOOTHED)
  return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def _draw(
    ax: Axes, curves: Sequence[Curve], metric: str, *, scale: float = 1.0, marked: bool = False,
    smooth: bool = False,
) -> None:  # fmt: skip
  """Draws a line for each curve, and a band where it has an interval.

  With `smooth` a long curve is thin, with its running mean on top.
  """
  for number, curve in enumerate(curves):
    found = series(curve, metric)
    if found is None:
      continue
    colour = style.COLOURS[number % len(style.COLOURS)]
    marker = style.MARKERS[number % len(style.MARKERS)] if marked else None
    line = found.mean
    if smooth and _is_long(found):
      ax.plot(found.steps, scale * line, color=colour, lw=0.6, alpha=0.6)
      line = _smoothed(line)
    ax.plot(
      found.steps, scale * line, color=colour, marker=marker, label=curve.label,
      clip_on=not marked,
    )  # fmt: skip
    if band := _interval(curve, metric, found):
      low, high = (scale * end for end in band)
      ax.fill_between(found.steps, low, high, color=colour, alpha=0.2, lw=0)


def _dumbbell(ax: Axes, curve: Curve, metric: str, y: float, number: int) -> None:
  """Draws a curve's change from the first evaluation to the last."""
  found = series(curve, metric)
  if found is None:
    return
  colour, first, last = style.COLOURS[number % 7], 100 * found.mean[0], 100 * found.mean[-1]
  ax.plot([first, last], [y, y], color=colour, lw=1.2, alpha=0.6)
  ax.plot([first], [y], "o", color=colour, markerfacecolor="white")
  if band := _interval(curve, metric, found):
    ax.plot([100 * end[-1] for end in band], [y, y], color=colour, lw=5, alpha=0.2)
  label = curve.label if metric.endswith("/success") else None
  ax.plot([last], [y], "o", color=colour, label=label)


def _finish(figure: Figure, axes: Sequence[Axes], curves: Sequence[Curve], *notes: str) -> None:
  _steps_below(axes, curves)
  only = [curves[0].label] if len(curves) == 1 else []
  style.legend(figure, axes[0], "; ".join(filter(None, [*only, *notes])))


def _steps_below(axes: Sequence[Axes], curves: Sequence[Curve]) -> None:
  """Finishes axes of training steps: amendments, label, whole numbers."""
  for ax in axes:
    amended.draw(ax, curves)
    ax.set_xlabel("training step")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
