"""A run's rows as they come, in TensorBoard and on Weights & Biases.

metrics.jsonl stays the source: both are given its finished rows, and nothing else.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import pathlib
from typing import Any

Row = Mapping[str, Any]  # of metrics.jsonl: "step", and numbers or None by name

_WANDB_ID = "wandb_id"  # file of a workdir, so that a run that goes on goes on there too


@contextlib.contextmanager
def watchers(
  workdir: pathlib.Path,
  config: Mapping[str, Any],
  first_step: int,
  *,
  tensorboard: bool,
  wandb: str | None,
) -> Iterator[Sequence[Callable[[Row], None]]]:
  """Yields what is to be called with each finished row.

  Args:
    workdir: of the run; TensorBoard's files go to its folder tensorboard/.
    config: nested plain values, shown beside the numbers.
    first_step: that is still to come; what a run cut short has shown from it on is taken back
      in TensorBoard.
    tensorboard: whether to write for TensorBoard.
    wandb: a project on Weights & Biases, whose package is imported only then.

  Raises:
    ImportError: `wandb` is given and not installed.
  """
  with contextlib.ExitStack() as stack:
    found = []
    if tensorboard:
      found.append(stack.enter_context(_tensorboard(workdir / "tensorboard", first_step)))
    if wandb is not None:
      found.append(stack.enter_context(_wandb(wandb, workdir, config)))
    yield found


@contextlib.contextmanager
def _tensorboard(folder: pathlib.Path, first_step: int) -> Iterator[Callable[[Row], None]]:
  import tensorboardX  # takes a second

  with tensorboardX.SummaryWriter(
    str(folder), purge_step=first_step, filename_suffix=f".{first_step}"
  ) as writer:

    def show(row: Row) -> None:
      for name, value in _numbers(row).items():
        writer.add_scalar(name, value, row["step"])
      writer.flush()

    yield show


@contextlib.contextmanager
def _wandb(
  project: str, workdir: pathlib.Path, config: Mapping[str, Any]
) -> Iterator[Callable[[Row], None]]:
  try:
    import wandb
  except ImportError:
    raise ImportError(
      f"--wandb={project} needs the package wandb: pip install 'empg-jax[wandb]'"
    ) from None
  workdir.mkdir(parents=True, exist_ok=True)
  file = workdir / _WANDB_ID
  known = file.read_text().strip() if file.exists() else None
  run = wandb.init(
    project=project, name=workdir.name, dir=str(workdir), config=dict(config), id=known,
    resume="allow", allow_val_change=True,  # of the config, when the run goes on
  )  # fmt: skip
  file.write_text(f"{run.id}\n")
  try:
    yield lambda row: run.log(_numbers(row), step=row["step"])
  finally:
    run.finish()


def _numbers(row: Row) -> dict[str, int | float]:
  return {name: x for name, x in row.items() if name != "step" and x is not None}
