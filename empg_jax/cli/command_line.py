"""Starts a launch script, and reports a user's mistakes in one line.

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
# Errors of a badly chosen path; ENOENT is not among them, as it may be a bug.
_UNFIT = {
  errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.EACCES, errno.EPERM, errno.EROFS,
  errno.ENAMETOOLONG,
}  # fmt: skip


def run(
  main: Callable[[Sequence[str]], Any], *, needs_config: bool = True, takes_files: bool = False
) -> None:
  """`absl.app.run(main)`; a user's mistake prints `error: ...` and exits with code 1.

  Checks the flag `--config`, if the script defines it, against its file before calling `main`.
  An exception that is not for the user (`is_for_the_user`) keeps its traceback; `--verbosity=1`
  shows the others' too. `-h` and `--help` print the script's docstring and flags.

  Args:
    main: called with the script's name and the files.
    needs_config: whether `--config`, if the script defines it, is required.
    takes_files: whether `main` takes arguments that are not flags.
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
    message = _message_of(error)
    if message is None:
      raise
    logging.debug("traceback of the error below", exc_info=True)
    sys.exit(f"error: {message}")


flags.disclaim_key_flags()  # flags defined below count as the calling script's, shown by --help


class _Path(flags.ArgumentParser):
  """Parses a path, which may begin with ~."""

  def parse(self, argument: str) -> str:
    return paths.expanded(argument)


def define_path(name: str, default: str | None, help: str, **options: Any) -> flags.FlagHolder:
  """A flag for a path. All flags for paths use it, so that ~ works everywhere."""
  return flags.DEFINE(_Path(), name, default, help, **options)


def define_paths(name: str, help: str, **options: Any) -> flags.FlagHolder:
  """A flag for a path that may be given more than once."""
  return flags.DEFINE_multi(_Path(), flags.ArgumentSerializer(), name, None, help, **options)


def config_name() -> str:
  """The value of --config without folders: "alfworld" or "alfworld:PRESET"."""
  file, colon, preset = flags.FLAGS["config"].config_filename.partition(":")
  return pathlib.Path(file).stem + colon + preset


def check_file(path: str | None) -> None:
  """Creates the folder of a file that a long command writes at its end.

  Raises:
    IsADirectoryError: the path is a folder.
  """
  if path is None:
    return
  paths.make_folder(paths.of(path).parent)
  if paths.of(path).is_dir():
    raise IsADirectoryError(f"{path} is a folder: name a file to write to.")


def _message_of(error: Exception) -> str | None:
  """The message of an error for the user; None if the error is a bug."""
  if is_for_the_user(error):
    return str(error)
  if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
    # Cleanup after the first error may find the disk full too.
    before = error.__context__
    message = _message_of(before) if isinstance(before, Exception) else None
    where = f" ({error.filename})" if error.filename else ""
    return message or f"the disk is full{where}: make room and start the same command again."
  if reason := paths.bucket_fault(error):
    more = "Check its name, and the credentials that `gcloud auth application-default login` makes."
    return f"a bucket cannot be used: {reason}. {more}"
  return _path_message(error) if isinstance(error, OSError) else None


def _path_message(error: OSError) -> str | None:
  """The message about an unusable path, if a flag names it or a folder above or below it."""
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
  """Whether the message of `error` was written for the user.

  It was if a `raise` statement of the package or the script raised it and its class is one
  of those for bad input. An exception from a library, or from another statement of ours, is
  a bug.
  """
  kinds = (ValueError, OSError, ImportError, FloatingPointError, RuntimeError)
  frames = traceback.extract_tb(error.__traceback__)
  if not isinstance(error, kinds) or not frames:
    return False
  file = pathlib.Path(frames[-1].filename).resolve()
  ours = _PACKAGE in file.parents or file == pathlib.Path(sys.argv[0]).resolve()
  return ours and (frames[-1].line or "").startswith("raise ")


def _parse_flags(argv: Sequence[str], *, needs_config: bool, takes_files: bool) -> Sequence[str]:
  """Parses the flags into `absl.flags.FLAGS`; raises ValueError for every mistake in them."""
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
      makers.replace_makers(nested, given)
      described = dict(config.leaves(nested))
      # config_flags fails with a traceback on an unknown key: check the keys first.
      for key in given:
        _check_key(nested, key)
      flags.FLAGS["config"].parser = _Loaded(nested)
    rest = flags.FLAGS(argv)
  except flags.Error as error:
    raise ValueError(_flag_message(error, described)) from error
  if len(rest) > 1 and not takes_files:
    raise ValueError(f"'{rest[1]}' is not a flag: a flag looks like --workdir=FOLDER")
  if "config" in flags.FLAGS and (needs_config or flags.FLAGS.config is not None):
    # A placeholder for an error if the file was given in a form not handled above.
    if not isinstance(flags.FLAGS.config, ml_collections.ConfigDict):
      raise ValueError("no config: give --config=configs/FILE.py or configs/FILE.py:PRESET")
    for key, value in config.leaves(flags.FLAGS.config):
      if not config.is_like(value, described[key]):
        raise ValueError(_not_like(key, repr(value), described))
    bounds.check(config.leaves(flags.FLAGS.config))
    _fix_paths(flags.FLAGS.config)
  if not flags.FLAGS["verbosity"].present:
    logging.set_verbosity(logging.WARNING)  # keeps the console for the run's own lines
  return rest


def _fix_paths(given: ml_collections.ConfigDict) -> None:
  """Makes the config's paths absolute: a run's config.json may be read from any folder."""
  if "path" in given.get("model", {}):
    given.model.path = paths.absolute(given.model.path)


def _look_for_modules(path: str | None) -> None:
  """Appends the current folder and the folder of the user's own config to sys.path.

  A config may then name `my_lab.guess_number`, here and in the worker processes.
  """
  folders = [pathlib.Path.cwd()]
  if path:
    folders.append(pathlib.Path(path.partition(":")[0]).resolve().parent)
  for folder in map(str, folders):
    if folder not in sys.path and not config.is_shipped(folder):
      sys.path.append(folder)


class _Loaded(flags.ArgumentParser):
  """For config_flags: returns the config that is already loaded."""

  def __init__(self, nested: ml_collections.ConfigDict):
    self._nested = nested.lock()

  def parse(self, argument: str) -> ml_collections.ConfigDict:
    del argument
    return self._nested

  def flag_type(self) -> str:
    return "config object"


def _with_config_found(argv: Sequence[str]) -> list[str]:
  """`argv` with the value of --config resolved to a file (`config.find`)."""
  found = list(argv)
  for at, argument in enumerate(argv):
    name, equals, value = argument.partition("=")
    if name in ("--config", "-config") and equals:
      found[at] = f"{name}={config.find(value)}"
    elif name in ("--config", "-config") and at + 1 < len(argv):
      found[at + 1] = config.find(argv[at + 1])
  return found


def _config_path(argv: Sequence[str]) -> str | None:
  """The value of --config in `argv`, or None."""
  path = None
  for argument, following in zip(argv, [*argv[1:], None]):
    name, equals, value = argument.partition("=")
    if name in ("--config", "-config"):
      path = value if equals else following
  return path


def _given(argv: Sequence[str]) -> dict[str, str]:
  """The values of --config.some.key=VALUE by key; "" for a last flag without a value."""
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


def _flag_message(error: flags.Error, described: Mapping[str, Any]) -> str:
  """absl's message about a flag on one line; in the config's terms for a key of the config."""
  if isinstance(error, flags.UnrecognizedFlagError):
    return _unknown_flag(error.flagname, described)
  text = " ".join(str(error).split())
  match = re.match(r"flag --config\.([^=]+)=(.*?): ", text)
  return _not_like(match[1], f"'{match[2]}'", described) if match else text


def _unknown_flag(name: str, described: Mapping[str, Any]) -> str:
  """The message for an unknown flag, with the config key or flag that was likely meant."""
  keys = [f"--config.{key}" for key in described if f".{key}".endswith(f".{name}")]
  known = [f"--{flag}" for flag in flags.FLAGS]
  meant = keys or difflib.get_close_matches(f"--{name}", known, n=1)
  return f"there is no flag --{name}: " + (
    f"did you mean {' or '.join(meant)}?" if meant else "--help lists all flags"
  )


def _not_like(key: str, value: str, described: Mapping[str, Any]) -> str:
  return f"config.{key} cannot be {value}: it must be like {described[key]!r}"
