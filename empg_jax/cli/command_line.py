"""How a launch script starts, and how it ends when its user made a mistake.

    _CONFIG = config_flags.DEFINE_config_file("config", None, "configs/FILE.py[:PRESET]")

    def main(argv): ...

    if __name__ == "__main__":
      command_line.run(main)

Called as `launch/SCRIPT.py --config=configs/FILE.py:PRESET --config.some.key=value`.
"""

from collections.abc import Callable, Mapping, Sequence
import difflib
import errno
import functools
import pathlib
import re
import sys
import traceback
from typing import Any

from absl import app, flags, logging
import ml_collections

from empg_jax.cli import makers
from empg_jax.config import bounds, config, lookup
from empg_jax.io import paths, streams

_PACKAGE = pathlib.Path(__file__).resolve().parents[1]
# Faults of a path that was chosen badly; one that is missing may be a bug.
_UNFIT = {
  errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.EACCES, errno.EPERM, errno.EROFS,
  errno.ENAMETOOLONG,
}  # fmt: skip


def run(
  main: Callable[[Sequence[str]], Any], *, needs_config: bool = True, takes_files: bool = False
) -> None:
  """`absl.app.run(main)` in which a user's mistake ends as `error: ...` and exit code 1.

  The flag `--config`, if the script defines it, is checked against its file before `main`
  sees it. An exception that is not for the user (`is_for_the_user`) keeps its traceback;
  `--verbosity=1` shows that of the others too. `-h` and `--help` print the script's docstring
  and flags.

  Args:
    main: called with the script's name and the files.
    needs_config: whether a `--config` that the script defines has to be given.
    takes_files: whether arguments that are no flags are handed to `main`.
  """
  if takes_files:
    flags.FLAGS.set_gnu_getopt()  # flags may come after files
  parse = functools.partial(_parse_flags, needs_config=needs_config, takes_files=takes_files)
  with streams.for_any_reader():
    _run(main, parse)


def _run(main: Callable[[Sequence[str]], Any], parse: Callable[[Sequence[str]], Any]) -> None:
  try:
    app.run(main, flags_parser=parse)
  except KeyboardInterrupt:
    print("interrupted", file=sys.stderr)
    sys.exit(130)
  except Exception as error:
    told = _sentence_of(error)
    if told is None:
      raise
    logging.debug("what led to the error below", exc_info=True)
    sys.exit(f"error: {told}")


flags.disclaim_key_flags()  # those defined below are the calling script's, which --help shows


class _Path(flags.ArgumentParser):
  """Of a path, which may begin with ~."""

  def parse(self, argument: str) -> str:
    return paths.expanded(argument)


def define_path(name: str, default: str | None, help: str, **options: Any) -> flags.FlagHolder:
  """A flag for a path; all that users give is, so that ~ means the same everywhere."""
  return flags.DEFINE(_Path(), name, default, help, **options)


def define_paths(name: str, help: str, **options: Any) -> flags.FlagHolder:
  """A flag for a path that may be given more than once."""
  return flags.DEFINE_multi(_Path(), flags.ArgumentSerializer(), name, None, help, **options)


def config_name() -> str:
  """What --config names, without folders: "alfworld" or "alfworld:PRESET"."""
  file, colon, preset = flags.FLAGS["config"].config_filename.partition(":")
  return pathlib.Path(file).stem + colon + preset


def check_file(path: str | None) -> None:
  """Makes the folder of a file that a long command will write at its end.

  Raises:
    IsADirectoryError: it is a folder itself.
  """
  if path is None:
    return
  pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
  if pathlib.Path(path).is_dir():
    raise IsADirectoryError(f"{path} is a folder: name a file to write to.")


def _sentence_of(error: Exception) -> str | None:
  """The sentence that the user reads about an error; None if it is a bug."""
  if is_for_the_user(error):
    return str(error)
  if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
    # What was being closed on the way out may find the disk full too.
    before = error.__context__
    told = _sentence_of(before) if isinstance(before, Exception) else None
    where = f" ({error.filename})" if error.filename else ""
    return told or f"the disk is full{where}: make room and start the same command again."
  return _sentence_of_path(error) if isinstance(error, OSError) else None


def _sentence_of_path(error: OSError) -> str | None:
  """The sentence about a path that cannot be had, if a flag named it, or one above or below it."""
  if error.errno not in _UNFIT or not isinstance(error.filename, str):
    return None
  path, found = pathlib.Path(error.filename), []
  for name in flags.FLAGS:
    values = flags.FLAGS[name].value if flags.FLAGS[name].present else None
    for value in values if isinstance(values, list) else [values]:
      given = pathlib.Path(value) if isinstance(value, str) and value else None
      if given and (given in (path, *path.parents) or path in given.parents):
        found.append((abs(len(given.parts) - len(path.parts)), f"--{name}={value}"))
  if not found:
    return None
  return f"{min(found)[1]} cannot be used, for {path}: {error.strerror}."  # the nearest


def is_for_the_user(error: Exception) -> bool:
  """Whether the message of `error` is a sentence that the project wrote for its user.

  It is, if a `raise` statement of the package or of the script made it and it is of a
  kind that bad input causes. An exception out of a library, or one that a statement of
  ours stumbled over, is a bug.
  """
  kinds = (ValueError, OSError, ImportError, FloatingPointError, RuntimeError)
  frames = traceback.extract_tb(error.__traceback__)
  if not isinstance(error, kinds) or not frames:
    return False
  file = pathlib.Path(frames[-1].filename).resolve()
  ours = _PACKAGE in file.parents or file == pathlib.Path(sys.argv[0]).resolve()
  return ours and (frames[-1].line or "").startswith("raise ")


def _parse_flags(argv: Sequence[str], *, needs_config: bool, takes_files: bool) -> Sequence[str]:
  """Parses the flags into `absl.flags.FLAGS`; ValueError for every mistake in them."""
  described = {}
  if {"-h", "--help", "-help"} & {*argv[1:]}:
    if "config" in flags.FLAGS:
      flags.FLAGS["config"].default_as_str = None  # "'None'"
    app.usage(shorthelp=True, writeto_stdout=True, exitcode=0)
  try:
    argv = argv[:1] + flags.FLAGS.read_flags_from_files(argv[1:], force_gnu=False)
    path = None
    if "config" in flags.FLAGS:
      argv = _with_config_found(argv)
      path = _config_path(argv)
    _look_for_modules(path)
    if path:
      nested, given = config.load(path), _given(argv)
      makers.put_in(nested, given)
      described = dict(config.leaves(nested))
      # config_flags answers an unknown key with a traceback: look at the keys before it.
      for key in given:
        _check_key(nested, key)
      flags.FLAGS["config"].parser = _Loaded(nested)
    rest = flags.FLAGS(argv)
  except flags.Error as error:
    raise ValueError(_sentence(error, described)) from error
  if len(rest) > 1 and not takes_files:
    raise ValueError(f"'{rest[1]}' is no flag: a flag looks like --workdir=FOLDER")
  if "config" in flags.FLAGS and (needs_config or flags.FLAGS.config is not None):
    # It is a stand-in for an error if the file was given in a way not looked at above.
    if not isinstance(flags.FLAGS.config, ml_collections.ConfigDict):
      raise ValueError("no config: give --config=configs/FILE.py or configs/FILE.py:PRESET")
    for key, value in config.leaves(flags.FLAGS.config):
      if not config.is_like(value, described[key]):
        raise ValueError(_not_like(key, repr(value), described))
    bounds.check(config.leaves(flags.FLAGS.config))
    _fix_paths(flags.FLAGS.config)
  if not flags.FLAGS["verbosity"].present:
    logging.set_verbosity(logging.WARNING)  # the console is for the run's own lines
  return rest


def _fix_paths(given: ml_collections.ConfigDict) -> None:
  """Makes the config's paths good from any folder: what is written down of a run is read there."""
  if "path" in given.get("model", {}):
    given.model.path = paths.absolute(given.model.path)


def _look_for_modules(path: str | None) -> None:
  """Python finds modules in the current folder and beside the user's own config, after all others.

  So a config may name `my_lab.guess_number`, here and in the worker processes.
  """
  folders = [pathlib.Path.cwd()]
  if path:
    folders.append(pathlib.Path(path.partition(":")[0]).resolve().parent)
  for folder in map(str, folders):
    if folder not in sys.path and not config.is_shipped(folder):
      sys.path.append(folder)


class _Loaded(flags.ArgumentParser):
  """For config_flags: gives the config that has been loaded from the file."""

  def __init__(self, nested: ml_collections.ConfigDict):
    self._nested = nested.lock()

  def parse(self, argument: str) -> ml_collections.ConfigDict:
    del argument
    return self._nested

  def flag_type(self) -> str:
    return "config object"


def _with_config_found(argv: Sequence[str]) -> list[str]:
  """`argv` in which --config names a file, also where it named one of the package's own."""
  found = list(argv)
  for at, argument in enumerate(argv):
    name, equals, value = argument.partition("=")
    if name in ("--config", "-config") and equals:
      found[at] = f"{name}={config.find(value)}"
    elif name in ("--config", "-config") and at + 1 < len(argv):
      found[at + 1] = config.find(argv[at + 1])
  return found


def _config_path(argv: Sequence[str]) -> str | None:
  """The value of --config in `argv`, if it is there."""
  path = None
  for argument, following in zip(argv, [*argv[1:], None]):
    name, equals, value = argument.partition("=")
    if name in ("--config", "-config"):
      path = value if equals else following
  return path


def _given(argv: Sequence[str]) -> dict[str, str]:
  """The values of --config.some.key=VALUE by key; "" where a flag without a value sets it."""
  given = {}
  for argument, following in zip(argv, [*argv[1:], ""]):
    name, equals, value = argument.partition("=")
    if override := re.fullmatch(r"--?(?:no)?config\.(.*)", name):
      given[override[1]] = value if equals else following
  return given


def _check_key(described: ml_collections.ConfigDict, key: str) -> None:
  """Checks that `some.key` names a value of the config."""
  found, where = described, "config"
  for part in key.split("."):
    keys = list(found) if isinstance(found, ml_collections.ConfigDict) else []
    if part not in keys:
      raise ValueError(lookup.unknown(f"{where} has no key", part, keys))
    found, where = found[part], f"{where}.{part}"
  if isinstance(found, ml_collections.ConfigDict):
    raise ValueError(f"{where} is a section: set one of its keys, {', '.join(found)}")


def _sentence(error: flags.Error, described: Mapping[str, Any]) -> str:
  """What absl says about a flag, on one line, in the config's terms if it is a key of it."""
  if isinstance(error, flags.UnrecognizedFlagError):
    return _unknown_flag(error.flagname, described)
  text = " ".join(str(error).split())
  match = re.match(r"flag --config\.([^=]+)=(.*?): ", text)
  return _not_like(match[1], f"'{match[2]}'", described) if match else text


def _unknown_flag(name: str, described: Mapping[str, Any]) -> str:
  """What is meant: a key of the config, or a flag that is written alike."""
  keys = [f"--config.{key}" for key in described if f".{key}".endswith(f".{name}")]
  known = [f"--{flag}" for flag in flags.FLAGS]
  meant = keys or difflib.get_close_matches(f"--{name}", known, n=1)
  return f"there is no flag --{name}: " + (
    f"did you mean {' or '.join(meant)}?" if meant else "--help lists those that there are"
  )


def _not_like(key: str, value: str, described: Mapping[str, Any]) -> str:
  return f"config.{key} cannot be {value}: it has to be like {described[key]!r}"
