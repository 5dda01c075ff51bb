"""The command `empg`: one subcommand per script of launch/, `empg train` for launch/train.py.

An installed package contains launch/ and configs/ as empg_jax.launch and empg_jax.configs; in
the repository these are symbolic links.
"""

from collections.abc import Sequence
import difflib
import importlib.util
import runpy
import sys

import empg_jax

COMMANDS = {
  "train": "train a policy by reinforcement learning",
  "check": "do every part of a run once on new hardware: planned and measured",
  "evaluate": "play a split with a policy, an expert or a random agent; compare two results",
  "play": "print episodes turn by turn",
  "pages": "write the episodes of a run as one HTML page",
  "plot": "draw the figures of runs",
  "export": "write a checkpoint as a folder that transformers reads",
  "sft": "clone a policy from an environment's expert",
  "plan": "compile a run for other hardware: memory, traffic, time",
  "benchmark": "measure the update, sampling, environments and the loss on this machine",
  "soak": "disturb a run on purpose and compare it with an undisturbed one",
  "filter_questions": "remove questions that teach a policy nothing",
  "serve_search": "serve a corpus by Search-R1's protocol",
}
_HELP = """\
empg {version}: Entropy-Modulated Policy Gradients for language-model agents, in JAX

usage: empg COMMAND [--flag=value ...]

{commands}

empg COMMAND --help lists a command's flags. To begin: empg train --config=alfworld
"""
_EXTRAS = {"matplotlib": "plot", "wandb": "wandb"}  # by library; all others are in "train"


def main(argv: Sequence[str] | None = None) -> None:
  """Runs launch/COMMAND.py with the flags that follow.

  Args:
    argv: the command and its flags; None: sys.argv[1:].
  """
  command, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
  if command in ("-h", "--help", "-help", "help"):
    print(_help(), end="")
    return
  if command in ("--version", "version"):
    print(f"empg {empg_jax.__version__}")
    return
  script = command.replace("-", "_")
  if script not in COMMANDS:
    sys.exit(f"error: there is no command {command}: {_nearest(script)}empg --help lists them")
  sys.argv[:] = [sys.argv[0], *rest]
  try:
    runpy.run_module(f"empg_jax.launch.{script}", run_name="__main__", alter_sys=True)
  except ModuleNotFoundError as error:
    library = (error.name or "").partition(".")[0]
    if library == "empg_jax" or _is_installed(library):
      raise
    extra = _EXTRAS.get(library, "train")
    sys.exit(f"error: empg {command} needs {library}: pip install 'empg-jax[{extra}]'")


def _help() -> str:
  width = max(map(len, COMMANDS))
  lines = "\n".join(f"  {name:<{width}}  {does}" for name, does in COMMANDS.items())
  return _HELP.format(version=empg_jax.__version__, commands=lines)


def _nearest(command: str) -> str:
  close = difflib.get_close_matches(command, COMMANDS, n=1)
  return f"did you mean {close[0]}? " if close else ""


def _is_installed(library: str) -> bool:
  return bool(library) and importlib.util.find_spec(library) is not None
