"""The package's own datasets, which their builders make once."""

from collections.abc import Iterator
import contextlib
import os
import pathlib

from absl import logging
import tensorflow_datasets as tfds

from empg_jax.io import cache, paths


def builder(
  made_by: type[tfds.core.GeneratorBasedBuilder],
  config: tfds.core.BuilderConfig,
  data_dir: str | None = None,
) -> tfds.core.DatasetBuilder:
  """The builder of a dataset in ArrayRecord files, which are made if they are missing.

  Args:
    made_by: the builder's class.
    config: identifies one of its datasets.
    data_dir: where it is kept; default: TFDS_DATA_DIR, or `datasets` in the cache (EMPG_JAX_CACHE).

  Raises:
    OSError: it must be made, and the folder cannot be written.
  """
  kept = data_dir or os.environ.get("TFDS_DATA_DIR") or str(cache.folder_for("datasets", ""))
  home = paths.on_disk(kept, "TFDS_DATA_DIR")
  with _hushed():
    found = made_by(config=config, file_format="array_record", data_dir=home)
    if not found.data_path.exists():
      _check_writable(home)
    found.download_and_prepare()
  return found


def _check_writable(home: pathlib.Path) -> None:
  try:
    home.mkdir(parents=True, exist_ok=True)
    reason = "" if os.access(home, os.W_OK) else "Permission denied"
  except OSError as error:
    reason = error.strerror
  if reason:
    name = "TFDS_DATA_DIR" if os.environ.get("TFDS_DATA_DIR") else "EMPG_JAX_CACHE"
    raise OSError(
      f"the folder of datasets {home} cannot be written ({reason}): set {name} to one that can."
    )


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
  """Silences TFDS: its warnings, and its messages of downloads, for nothing is downloaded."""
  tfds.disable_progress_bar()  # unlike ours, it does not know the total
  before = logging.get_verbosity()
  if not logging.vlog_is_on(1):
    logging.set_verbosity(logging.ERROR)
  try:
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
      yield
  finally:
    logging.set_verbosity(before)
