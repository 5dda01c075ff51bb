"""Draws the figures of finished or running runs, as PNG and SVG.

  python launch/plot.py --workdir=runs/alfworld --out=plots
  python launch/plot.py --workdir=runs/seed0 --workdir=runs/seed1 --workdir=runs/grpo --out=plots

Runs whose configs differ only in the seed form one curve: their mean, and a band from the lowest
to the highest. For the figures of entropy, gradients and g, the initial policy of each curve's
first run plays --episodes training tasks, and the initial and the trained policy score them. If no
run has a KL penalty, the figure of KL is measured too: the initial policy of each curve's first run
scores as many of its training episodes. --episodes=0 omits these figures. The script names the
figures for which the runs lack data.
"""

import functools

from absl import flags

from empg_jax import console
from empg_jax.cli import command_line
from empg_jax.io import words
from empg_jax.kernels import hardware

_WORKDIRS = command_line.define_paths("workdir", "a run's folder; may be repeated", required=True)
_OUT = command_line.define_path("out", None, "folder for the figures", required=True)
_EPISODES = flags.DEFINE_integer("episodes", 64, "how many to score", lower_bound=0)


def main(argv):
  del argv
  curves, drift, runs, scoring, steps, style = figures()
  drawn = runs.curves([runs.read(workdir) for workdir in _WORKDIRS.value])
  with style.styled():
    for name, draw in curves.FIGURES.items():
      try:
        if name == "kl" and _EPISODES.value and not curves.measured_kl(drawn):
          draw = functools.partial(curves.kl_of_episodes, found=drifts(drawn, drift))
        report(style.save(draw(drawn), _OUT.value, name))
      except curves.NothingToDraw as reason:
        print(f"no {name}: {reason}")
    for number, curve in enumerate(drawn if _EPISODES.value else ()):
      run = curve.runs[0]
      with console.Progress(f"scoring {run.workdir}", _EPISODES.value, "episodes") as progress:
        measured = scoring.measure(run.workdir, _EPISODES.value, progress.update)
      scored = words.count(len(measured.entropy), "step")
      about = f"{run.workdir.name}: {scored}, {words.count(_EPISODES.value, 'episode')}"
      for name, draw in steps.FIGURES.items():
        figure = draw(measured, run.config.get("algorithm.k", 1.0), about)
        name += f"_{number + 1}" * (number > 0)
        report(style.save(figure, _OUT.value, name))


def drifts(drawn, drift):
  """The KL of each curve's first run to its initial policy, by the curve's label."""
  found = {}
  for curve in drawn:
    workdir = curve.runs[0].workdir
    try:
      steps = len(drift.training_steps(workdir))
    except FileNotFoundError as reason:
      print(f"no kl of {curve.label}: {reason}")
      continue
    with console.Progress(f"KL of {workdir}", steps, "steps") as progress:
      found[curve.label] = drift.measure(workdir, _EPISODES.value, progress.update)
  return found


def figures():
  """The modules that draw; raises ImportError if Matplotlib is not installed."""
  try:
    import matplotlib as _  # noqa: F401
  except ImportError:
    raise ImportError("Figures need Matplotlib: pip install 'empg-jax[plot]'") from None
  from empg_jax.plots import curves, drift, runs, scoring, steps, style

  return curves, drift, runs, scoring, steps, style


def report(paths):
  print(f"wrote {' and '.join(map(str, paths))}", flush=True)


if __name__ == "__main__":
  hardware.prepare()
  command_line.run(main)
