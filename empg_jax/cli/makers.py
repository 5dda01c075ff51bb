"""What becomes of a config in which the command line names another maker.

`algorithm` and `env` are sections whose `name` stands for a maker, the function `make` of that
module; the other keys are its arguments (config/config.py). Another maker has other arguments.
"""

from collections.abc import Callable, Collection, Mapping
import inspect
import typing
from typing import Any

from ml_collections import ConfigDict

from empg_jax import envs
from empg_jax.config import config as configs, lookup, presets

_ALGORITHMS = "empg_jax.algorithms"


def put_in(config: ConfigDict, given: Mapping[str, str]) -> None:
  """Makes the sections whose `name` is given those of the new makers.

  An environment has its own defaults, for `tasks` and the chat's rules and instructions too. So has
  an algorithm, but for one that is a preset's method: that is as the preset has it. What is around
  a base keeps it, and goes around what was there if that had none; the name of a base that is there
  leaves out what is around it.

  Args:
    config: changed in place.
    given: values of the command line by key, "algorithm.name": "grpo". Those of other keys are
      not put in; they make room for an argument that has no default.

  Raises:
    ValueError: there is no such maker.
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
  """The section of the algorithm `name` in place of the section `old`."""
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
  """The defaults of a maker; of the given parameters that have none, an example of their type."""
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
  """Any value of a parameter's type; text where the signature names none that a config holds."""
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
