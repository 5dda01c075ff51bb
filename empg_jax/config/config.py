"""Configs: nested plain values, checked on loading.

A config file is Python with a `get_config(preset)` that returns an
`ml_collections.ConfigDict`. Each of its sections is the keyword arguments of exactly one
function (`check_arguments`). A run keeps its config in WORKDIR/config.json.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
import importlib.metadata
import inspect
import json
import os
import pathlib
import platform
import runpy
import typing
from typing import Any, TypeAlias

import ml_collections

from empg_jax.config import lookup
from empg_jax.io import json_text, paths

Section: TypeAlias = Mapping[str, Any] | ml_collections.ConfigDict

_VERSIONED = ("empg_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")

FILE = "config.json"  # of a workdir
INITIAL = "initial"  # of a workdir: the model of a run that began with another run's weights
_PLAIN = (bool, int, float, str)
_SHIPPED = pathlib.Path(__file__).resolve().parents[1] / "configs"


def find(path: str) -> str:
  """Resolves `FILE.py:PRESET`, also for the package's own configs.

  These go by name, `alfworld:tiny-full`, or, where that file does not exist, by their path in
  the repository, `configs/alfworld.py:tiny-full`.
  """
  name, colon, preset = path.partition(":")
  name = paths.expanded(name)
  shipped = _SHIPPED / f"{pathlib.Path(name).stem}.py"
  meant = name in (shipped.stem, f"configs/{shipped.name}")
  if meant and shipped.is_file() and not pathlib.Path(name).is_file():
    name = str(shipped)
  return name + colon + preset


def is_shipped(folder: str | os.PathLike[str]) -> bool:
  """Whether a folder is the package's own folder of configs."""
  return pathlib.Path(folder).resolve() == _SHIPPED.resolve()


def load(path: str) -> ml_collections.ConfigDict:
  """Returns the config that `FILE.py` or `FILE.py:PRESET` describes; see `find`.

  Raises:
    FileNotFoundError: there is no such file; the message lists the files in its folder, or
      the package's own.
    ValueError: the file defines no config, or one with a value that the command line
      cannot set; `get_config` raises it for an unknown preset (`lookup.get`).
  """
  name, *preset = find(path).split(":", 1)
  file = pathlib.Path(name)
  if not file.is_file():
    there = [str(other) for other in file.parent.glob("*.py")] if file.suffix else []
    there = there or [other.stem for other in _SHIPPED.glob("*.py")]
    raise FileNotFoundError(lookup.unknown("there is not a config file", name, there))
  content = runpy.run_path(name)
  if "get_config" not in content:
    raise ValueError(f"{name} is not a config file: it has no function get_config")
  config = content["get_config"](*preset)
  for key, value in leaves(config):
    if not is_plain(value):
      raise ValueError(
        f"config.{key} of {name} is {value!r}, but a config holds only bool, int, float,"
        " str and tuples of these, so that each can be set on the command line"
      )
  return config


def leaves(config: Section, prefix: str = "") -> Iterator[tuple[str, Any]]:
  """Yields ("rollout.group_size", 8) and so on for every value of a nested config."""
  for key, value in config.items():
    if isinstance(value, (Mapping, ml_collections.ConfigDict)):
      yield from leaves(value, f"{prefix}{key}.")
    else:
      yield f"{prefix}{key}", value


def arguments(section: Section) -> dict[str, Any]:
  """A section without its `name`."""
  return {key: value for key, value in section.items() if key != "name"}


def method(algorithm: Section) -> str:
  """The label of a config's algorithm: "empg over grpo, k=1, zeta=0.05"."""
  base = f" over {algorithm['base']['name']}" if "base" in algorithm else ""
  strengths = (f", {key}={algorithm[key]:g}" for key in ("k", "zeta") if key in algorithm)
  return f"{algorithm['name']}{base}{''.join(strengths)}"


def is_plain(value: Any) -> bool:
  """Whether a config may hold `value`, so that it can be set on the command line."""
  elements = value if isinstance(value, tuple) else (value,)
  return all(isinstance(element, _PLAIN) for element in elements)


def is_like(value: Any, example: Any) -> bool:
  """Whether `value` has the type of `example`.

  An int is a valid float, a bool is neither; each element of a tuple must have the type of
  the example's first.
  """
  if isinstance(example, tuple):
    return isinstance(value, tuple) and (
      not example or all(is_like(element, example[0]) for element in value)
    )
  if isinstance(example, float):
    return isinstance(value, (int, float)) and not isinstance(value, bool)
  return type(value) is type(example)


def check_arguments(
  function: Callable[..., Any], section: Section, where: str, given: Iterable[str] = ()
) -> None:
  """Checks that `function(**section)` is a well-formed call.

  Args:
    function: what the section configures.
    section: its keyword arguments.
    where: the section's name in messages, such as "config.rollout".
    given: the parameters that the caller passes itself.

  Raises:
    ValueError: a key is not a parameter of the function or is passed by the caller, a
      parameter without default has no key, or a value is not of the parameter's type
      (checked for the annotations bool, int, float, str and Literal).
  """
  free = {
    name: parameter
    for name, parameter in inspect.signature(function).parameters.items()
    if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    and name not in set(given)
  }
  for key, value in section.items():
    if key not in free:
      raise ValueError(lookup.unknown(f"{where} has an unknown key", key, free))
    wanted = free[key].annotation
    if typing.get_origin(wanted) is typing.Literal and value not in typing.get_args(wanted):
      known = ", ".join(map(repr, typing.get_args(wanted)))
      raise ValueError(f"{where}.{key} is {value!r}, but must be one of {known}")
    if wanted in _PLAIN and not is_like(value, wanted()):
      raise ValueError(f"{where}.{key} is {value!r}, but must be of type {wanted.__name__}")
  for name, parameter in free.items():
    if parameter.default is parameter.empty and name not in section:
      raise ValueError(f"{where} lacks the key '{name}'")


def note_versions(workdir: str | os.PathLike[str]) -> str | None:
  """Writes WORKDIR/versions.json: Python and the libraries that results depend on.

  Returns a sentence if versions have changed since the last call, or if this is unknown: a
  resumed run may then not be reproducible bit for bit. Otherwise returns None.
  """
  file = paths.of(workdir) / "versions.json"
  there, damaged = {}, None
  try:
    there = dict(json.loads(file.read_text())) if file.is_file() else {}
  except (ValueError, TypeError, RecursionError):
    damaged = f"{file} was damaged, so changes of the installed versions are unknown"
  here = {"python": platform.python_version()}
  here |= {name: _version(name) for name in _VERSIONED}
  changed = [
    f"{name} {there[name]} -> {version}"
    for name, version in here.items()
    if there.get(name, version) != version
  ]
  if here != there:
    paths.write(file, json_text.dumps(here, indent=2) + "\n")
  return f"installed versions have changed since: {', '.join(changed)}" if changed else damaged


def _version(name: str) -> str:
  try:
    return importlib.metadata.version(name)
  except importlib.metadata.PackageNotFoundError:
    return "not installed"


def read(workdir: str | os.PathLike[str]) -> ml_collections.ConfigDict:
  """Returns the config of the run in `workdir`.

  Raises:
    FileNotFoundError: there is no run.
    ValueError: its config.json is damaged.
  """
  file = paths.of(workdir) / FILE
  if not file.is_file():
    raise FileNotFoundError(f"{workdir} holds no run: there is no {file}")
  try:
    values = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
      raise ValueError("it holds no object")
    config = ml_collections.ConfigDict(with_tuples(values))
    if file.with_name(INITIAL).is_dir():  # moves with the workdir
      config.model.path = str(paths.from_root(file.with_name(INITIAL)))
    return config
  except (ValueError, RecursionError) as error:
    raise ValueError(f"{file} is damaged ({error}): repair or remove it") from error


def with_tuples(value: Any) -> Any:
  """A JSON value with tuples instead of lists."""
  if isinstance(value, dict):
    return {key: with_tuples(element) for key, element in value.items()}
  return tuple(map(with_tuples, value)) if isinstance(value, list) else value
