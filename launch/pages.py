"""Writes a page that shows a run's episodes: one HTML file that opens from disk.

  python launch/pages.py --workdir=runs/alfworld
  python launch/pages.py --workdir=runs/alfworld/episodes/step_000025.valid_seen.jsonl.gz

The first shows all episodes that launch/train.py wrote to the workdir, the second one evaluation.
"""

from empg_jax import pages
from empg_jax.cli import command_line
from empg_jax.config import config as configs
from empg_jax.io import paths, words
from empg_jax.tracking import episode_files
from empg_jax.workdir import resume

_WORKDIR = command_line.define_path(
  "workdir", None, "a run's folder, or one file of its episodes", required=True
)
_OUT = command_line.define_path(
  "out", None, "the page; default: WORKDIR/episodes.html, or FILE.html"
)


def main(_):
  source = paths.of(_WORKDIR.value)
  if source.is_file():
    files, beside = [source], source.with_name(source.name.removesuffix(".jsonl.gz") + ".html")
  else:
    files, beside = episode_files.files(source), source / "episodes.html"
  out = paths.of(_OUT.value) if _OUT.value else beside
  workdir = source.parent.parent if source.is_file() else source
  shown = pages.write(files, title(workdir), out, list(map(str, resume.seen(workdir))))
  shown = f"{words.count(shown, 'episode')} of {words.count(len(files), 'file')}"
  print(f"{out}: {shown}, {paths.size(out) / 1e6:.1f} MB")


def title(workdir):
  """The run's name, environment, method and seed; without a config, the value of --workdir."""
  try:
    config = configs.read(workdir)
  except FileNotFoundError:
    return str(_WORKDIR.value)
  name = paths.from_root(workdir).name
  name = "" if name == config.env.name else f"{name}: "
  return f"{name}{config.env.name}, {configs.method(config.algorithm)}, seed {config.seed}"


if __name__ == "__main__":
  command_line.run(main)
