"""Runs read from workdirs; runs that differ only in the seed form one curve."""

from collections.abc import Sequence
import os
from typing import Any, NamedTuple

import numpy as np

from empg_jax.config import config as configs
from empg_jax.io import paths
from empg_jax.tracking import metrics
from empg_jax.workdir import init_from, resume
from empg_jax.workdir.resume import Amendment


class Run(NamedTuple):
  workdir: paths.Path
  config: dict[str, Any]  # by dotted keys
  rows: list[dict[str, Any]]  # of metrics.jsonl
  amendments: tuple[Amendment, ...] = ()  # those that a curve can show


class Curve(NamedTuple):
  """Runs of one config with different seeds."""

  label: str
  runs: tuple[Run, ...]


class Series(NamedTuple):
  """One metric at the steps at which all runs of a curve have it; [n] each."""

  steps: np.ndarray
  mean: np.ndarray
  low: np.ndarray  # the lowest of the runs
  high: np.ndarray


def read(workdir: str | os.PathLike) -> Run:
  """Reads a workdir's run. Raises ValueError or FileNotFoundError if there is none to plot."""
  config = dict(configs.leaves(configs.read(workdir)))
  rows = metrics.read_rows(workdir)
  if not rows:
    raise ValueError(f"{workdir} holds no finished step yet: there is nothing to plot.")
  if begun_with := init_from.named(workdir):
    config["model.path"] = begun_with
  return Run(paths.of(workdir), config, rows, tuple(resume.seen(workdir)))


def curves(runs: Sequence[Run]) -> list[Curve]:
  """Groups runs by config, and labels the groups by what differs between them."""
  groups: dict[str, list[Run]] = {}
  for run in runs:
    values = sorted((k, v) for k, v in run.config.items() if k != "seed")
    key = repr((values, run.amendments))
    groups.setdefault(key, []).append(run)
  members = list(groups.values())
  names = _labels([group[0] for group in members])
  return [
    Curve(f"{name} ({len(group)} seeds)" if len(group) > 1 else name, tuple(group))
    for name, group in zip(names, members)
  ]


def series(curve: Curve, metric: str) -> Series | None:
  """A curve's metric; None if there is no step at which all of its runs have it."""
  found = [
    {row["step"]: row[metric] for row in run.rows if row.get(metric) is not None}
    for run in curve.runs
  ]
  steps = sorted(set.intersection(*map(set, found)))
  if not steps:
    return None
  values = np.array([[run[step] for step in steps] for run in found], float)
  return Series(np.array(steps), values.mean(axis=0), values.min(axis=0), values.max(axis=0))


def _labels(runs: Sequence[Run]) -> list[str]:
  """The differences between configs if these are few, else the names of the workdirs."""
  if len(runs) == 1:
    return [str(runs[0].config.get("env.name", runs[0].workdir.name))]
  keys = sorted({key for run in runs for key in run.config} - {"seed"})
  differing = [k for k in keys if len({repr(run.config.get(k)) for run in runs}) > 1]
  if 0 < len(differing) <= 2:
    return [", ".join(f"{_short(k)} {run.config.get(k)}" for k in differing) for run in runs]
  return [run.workdir.name for run in runs]


def _short(key: str) -> str:
  return key.rpartition(".")[2]
