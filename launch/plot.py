"""Draws the figures of finished or running runs, as PNG and SVG.

  python launch/plot.py --workdir=runs/alfworld --out=plots
  python launch/plot.py --workdir=runs/seed0 --workdir=runs/seed1 --workdir=runs/grpo --out=plots

Runs whose configs differ in nothing but the seed are one curve: their mean, and a band from the
lowest to the highest of them. The figures of entropy, gradients and g are measured: the initial
policy of each curve's first run plays --episodes training tasks, which it and the trained policy
then score; --episodes=0 leaves these out. What a run does not hold is said and left out.
"""

import pathlib

from absl import flags

from empg_jax import command_line, console, sharding

_WORKDIRS = flags.DEFINE_multi_string("workdir", None, "of a run; may be repeated", required=True)
_OUT = flags.DEFINE_string("out", None, "folder for the figures", required=True)
_EPISODES = flags.DEFINE_integer("episodes", 64, "that are scored", lower_bound=0)


def main(argv):
  del argv
  curves, runs, scoring, steps, style = figures()
  drawn = runs.curves([runs.read(workdir) for workdir in _WORKDIRS.value])
  with style.styled():
    for name, draw in curves.FIGURES.items():
      try:
        report(style.save(draw(drawn), pathlib.Path(_OUT.value), name))
      except curves.NothingToDraw as reason:
        print(f"no {name}: {reason}")
    for number, curve in enumerate(drawn if _EPISODES.value else ()):
      run = curve.runs[0]
      with console.Progress(f"scoring {run.workdir}", _EPISODES.value, "episodes") as progress:
        measured = scoring.measure(run.workdir, _EPISODES.value, progress.update)
      about = f"{run.workdir.name}: {len(measured.entropy):,} steps, {_EPISODES.value} episodes"
      for name, draw in steps.FIGURES.items():
        figure = draw(measured, run.config.get("algorithm.k", 1.0), about)
        name += f"_{number + 1}" * (number > 0)
        report(style.save(figure, pathlib.Path(_OUT.value), name))


def figures():
  """The modules that draw. ImportError if Matplotlib is not installed."""
  try:
    import matplotlib as _
  except ImportError:
    raise ImportError("Figures need Matplotlib: pip install -e '.[plot]'") from None
  from empg_jax.plots import curves, runs, scoring, steps, style

  return curves, runs, scoring, steps, style


def report(paths):
  print(f"wrote {' and '.join(map(str, paths))}", flush=True)


if __name__ == "__main__":
  sharding.use_cpu_devices()
  command_line.run(main)
