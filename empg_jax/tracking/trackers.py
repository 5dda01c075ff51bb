"""A run as it goes, in TensorBoard and on Weights & Biases.

The workdir stays the source: both show the finished rows of metrics.jsonl, and beside a row a few
of the episodes that were written to episodes/ in its step.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
from typing import Any

from empg_jax.io import paths
from empg_jax.tracking import samples
from empg_jax.tracking.samples import Sample

Row = Mapping[str, Any]  # of metrics.jsonl: "step", and numbers or None by name

_Show = Callable[[Row, Mapping[str, Sequence[Sample]]], None]  # a row, and episodes by split

_WANDB_ID = "wandb_id"  # a file of the workdir: a resumed run goes on in the same run of W&B


@contextlib.contextmanager
def watchers(
  workdir: paths.Path,
  config: Mapping[str, Any],
  first_step: int,
  *,
  tensorboard: bool,
  wandb: str | None,
) -> Iterator[Sequence[Callable[[Row], None]]]:
  """Yields the functions to call with each finished row: one, or none if nothing is shown.

  Args:
    workdir: of the run, with its episodes; TensorBoard's files go to its folder tensorboard/.
    config: nested plain values, shown beside the numbers.
    first_step: the first step that is still to come; TensorBoard drops what a run that was cut
      short showed from there on.
    tensorboard: whether to write for TensorBoard.
    wandb: a project on Weights & Biases, whose package is imported only then.

  Raises:
    ImportError: `wandb` is given and not installed.
  """
  with contextlib.ExitStack() as stack:
    trackers: list[_Show] = []
    if tensorboard:
      trackers.append(stack.enter_context(_tensorboard(workdir / "tensorboard", first_step)))
    if wandb is not None:
      trackers.append(stack.enter_context(_wandb(wandb, workdir, config)))

    def show(row: Row) -> None:
      episodes = samples.of_row(workdir, row)
      for tracker in trackers:
        tracker(row, episodes)

    yield [show] if trackers else []


@contextlib.contextmanager
def _tensorboard(folder: paths.Path, first_step: int) -> Iterator[_Show]:
  import tensorboardX  # takes a second

  with tensorboardX.SummaryWriter(
    str(folder), purge_step=first_step, filename_suffix=f".{first_step}"
  ) as writer:

    def show(row: Row, episodes: Mapping[str, Sequence[Sample]]) -> None:
      for name, value in _numbers(row).items():
        writer.add_scalar(name, value, row["step"])
      for split, chosen in episodes.items():
        writer.add_text(f"episodes/{split}", samples.markdown(chosen), row["step"])
      writer.flush()

    yield show


@contextlib.contextmanager
def _wandb(project: str, workdir: paths.Path, config: Mapping[str, Any]) -> Iterator[_Show]:
  try:
    import wandb
  except ImportError:
    raise ImportError(
      f"--wandb={project} needs the package wandb: pip install 'empg-jax[wandb]'"
    ) from None
  paths.make_folder(workdir)
  file = workdir / _WANDB_ID
  known = file.read_text().strip() if file.exists() else None
  run = wandb.init(
    project=project, name=workdir.name, dir=None if paths.in_bucket(workdir) else str(workdir),
    config=dict(config), id=known, resume="allow",
    allow_val_change=True,  # of the config, when the run goes on
  )  # fmt: skip
  paths.write(file, f"{run.id}\n")

  def show(row: Row, episodes: Mapping[str, Sequence[Sample]]) -> None:
    tables = {
      f"episodes/{split}": wandb.Table(columns=list(Sample._fields), data=list(map(list, chosen)))
      for split, chosen in episodes.items()
    }
    run.log(_numbers(row) | tables, step=row["step"])

  try:
    yield show
  finally:
    run.finish()


def _numbers(row: Row) -> dict[str, int | float]:
  return {name: x for name, x in row.items() if name != "step" and x is not None}
