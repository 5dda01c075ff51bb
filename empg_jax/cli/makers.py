"""Changes a config when the command line names another algorithm or environment.

In the sections `algorithm` and `env`, `name` is a module whose function `make` takes the other
keys as arguments (config/config.py). Another module has other arguments.
"""

from collections.abc import Callable, Collection, Mapping
import inspect
import typing
from typing import Any

from ml_collections import ConfigDict

from empg_jax import envs
from empg_jax.config import config as configs, lookup, presets

_ALGORITHMS = "empg_jax.algorithms"


def replace_makers(config: ConfigDict, given: Mapping[str, str]) -> None:
  """Replaces the sections whose `name` is given.

  The new section of an environment has that environment's defaults, also for `tasks` and the
  chat's rules and instructions. That of an algorithm has the algorithm's defaults, or the values
  of its preset if it is a preset's method. A new wrapper, such as EMPG, keeps the old base, or
  wraps the old algorithm if that had no base; naming the current base removes its wrappers.

  Args:
    config: changed in place.
    given: values of the command line by key, "algorithm.name": "grpo". Other keys are not set
      here; they add arguments that have no default.

  Raises:
    ValueError: there is no such algorithm or environment.
  """
  with config.unlocked():
    if "env" in config and given.get("env.name", config.env.name) != config.env.name:
      _change_environment(config, given)
    section, where = config, "algorithm"
    while where.rpartition(".")[2] in section:
      key = where.rpartition(".")[2]
      name = given.get(f"{where}.name", section[key].name)
      if name != section[key].name:
        section[key] = ConfigDict(_algorithm(section[key].to_dict(), name, _keys(given, where)))
      section, where = section[key], f"{where}.base"


def _change_environment(config: ConfigDict, given: Mapping[str, str]) -> None:
  old, new = envs.find(config.env.name), envs.find(given["env.name"])
  arguments = _arguments(new.make, _keys(given, "env"))
  config.env = ConfigDict({"name": given["env.name"]} | arguments)
  if "tasks" in config:
    config.tasks = ConfigDict(_arguments(new.tasks, _keys(given, "tasks"), without=("split",)))
  if "chat" in config:
    config.chat.update(new.REPLY)
    if config.chat.get("instructions") and config.chat.instructions == old.INSTRUCTIONS:
      config.chat.instructions = new.INSTRUCTIONS


def _algorithm(old: dict[str, Any], name: str, given: Collection[str]) -> dict[str, Any]:
  """The section of the algorithm `name` that replaces the section `old`."""
  innermost = old
  while "base" in innermost:
    innermost = innermost["base"]
    if innermost["name"] == name:
      return innermost
  if preset := presets.method(name, innermost):
    return preset
  make = lookup.find_or_import(_ALGORITHMS, name).make
  section = {"name": name} | _arguments(make, given, without=("base",))
  if "base" in inspect.signature(make).parameters:
    section["base"] = old.get("base", old)
  return section


def _arguments(
  make: Callable, given: Collection[str], without: Collection[str] = ()
) -> dict[str, Any]:
  """The defaults of `make`; for given parameters without one, an example of their type."""
  section = {}
  for name, parameter in inspect.signature(make).parameters.items():
    if name in without or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
      continue
    if configs.is_plain(parameter.default):
      section[name] = parameter.default
    elif name in given:
      section[name] = _example(make, name)
  return section


def _example(make: Callable, name: str) -> Any:
  """Some value of a parameter's type; a str where configs cannot hold the annotated type."""
  annotated = make.__init__ if isinstance(make, type) else make
  wanted = typing.get_type_hints(annotated).get(name, str)
  for kind in (wanted, *typing.get_args(wanted)):
    kind = typing.get_origin(kind) or kind
    if kind in (bool, int, float, str, tuple):
      return kind()
  return ""


def _keys(given: Mapping[str, str], section: str) -> set[str]:
  """The given keys of a section, without its name."""
  return {key.removeprefix(f"{section}.") for key in given if key.startswith(f"{section}.")}
