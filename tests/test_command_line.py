"""A mistyped command line prints a one-line error and exits with code 1."""

import ast
import json
import os
import pathlib
import subprocess
import sys
from typing import NamedTuple

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]

SCRIPT = """
import sys
from absl import flags
from ml_collections import config_flags
from empg_jax.cli import command_line
from empg_jax.config import config
from empg_jax.workdir import resume

_CONFIG = config_flags.DEFINE_config_file("config", None, "configs/FILE.py")
_WORKDIR = flags.DEFINE_string("workdir", None, "where the run is kept")
_SOURCE = flags.DEFINE_string("a_source", None, "what is read")

def main(argv):
  if _CONFIG.value.name == "bug":
    [].remove(1)
  if _CONFIG.value.name == "library":
    int("x" * 3)
  if _CONFIG.value.name == "interrupted":
    raise KeyboardInterrupt
  if _CONFIG.value.name == "border":
    raise FloatingPointError("the loss is NaN")
  if _CONFIG.value.name == "written":
    command_line.check_file(_WORKDIR.value)
    open(_WORKDIR.value, "x").close()
  if _CONFIG.value.name == "missing":
    open(_WORKDIR.value + "/missing")
  if _WORKDIR.value:
    resume.claim(_WORKDIR.value, _CONFIG.value)
  print(dict(config.leaves(_CONFIG.value)))

if __name__ == "__main__":
  command_line.run(main)
"""

CONFIG = """
import ml_collections
from empg_jax.config import lookup

def get_config(preset="tiny"):
  seed = lookup.get({"tiny": 0, "tiny-full": 1}, preset, "preset")
  rollout = dict(group_size=8, greedy=False)
  return ml_collections.ConfigDict(
    dict(seed=seed, name="x", rate=1e-3, lengths=(1, 2), rollout=rollout))
"""

NAMED = """
import ml_collections

def get_config():
  algorithm = dict(name="empg", k=1.0, base=dict(name="grpo", clip_low=0.3))
  return ml_collections.ConfigDict(dict(name="x", algorithm=algorithm, env=dict(name="alfworld")))
"""
OWN = "def make(*, n: int, top=True): pass\ntask_type, tasks = str, lambda split, most=3: []\n"

# Names of makers, in the current folder and beside the config, and the config's other values.
MADE = {
  "--config=other/named.py --config.algorithm.name=my_lab.own --config.algorithm.n=4": {
    "algorithm.name": "my_lab.own", "algorithm.n": 4, "algorithm.top": True,
    "env.name": "alfworld",
  },
  "--config other/named.py --config.env.name her_lab.own --noconfig.env.top --config.env.n 2": {
    "algorithm.name": "empg", "algorithm.k": 1.0, "algorithm.base.name": "grpo",
    "algorithm.base.clip_low": 0.3, "env.name": "her_lab.own", "env.n": 2, "env.top": False,
  },
  "--config=other/named.py --config.algorithm.name=grpo --config.algorithm.clip_low=0.1": {
    "algorithm.name": "grpo", "algorithm.clip_low": 0.1, "env.name": "alfworld",
  },
}  # fmt: skip

GIVEN = {
  "rollout.group_size": 8,
  "rollout.greedy": False,
  "seed": 0,
  "name": "x",
  "rate": 1e-3,
  "lengths": (1, 2),
}

# The arguments of `train.py`, and the resulting values.
RIGHT = {
  "--config=toy.py": {},
  "--config toy.py --config.seed 4": {"seed": 4},
  "--config=toy.py:tiny-full": {"seed": 1},
  "--config=toy.py --config.rollout.group_size=4 --config.rate=1 --workdir=run": {
    "rollout.group_size": 4,
    "rate": 1.0,
  },
  "--config=toy.py --config.rollout.greedy --config.lengths=(3,4,5)": {
    "rollout.greedy": True,
    "lengths": (3, 4, 5),
  },
}

# The arguments of `train.py`, and stderr.
WRONG = {
  "": "no config: give --config=configs/FILE.py or configs/FILE.py:PRESET",
  "--config=toi.py": "there is not a config file 'toi.py': did you mean 'toy.py'?"
  " there are toy.py, train.py",
  "--config=held/other.py": "held/other.py is not a config file: it has no function get_config",
  "--config=toy.py:tinny": "there is no preset 'tinny': did you mean 'tiny'?"
  " there are tiny, tiny-full",
  "--config=toy.py --config.sed=1": (
    "config has no key 'sed': did you mean 'seed'? there are lengths, name, rate, rollout, seed"
  ),
  "--config=toy.py --config.rolout.group_size=1": (
    "config has no key 'rolout': did you mean 'rollout'? there are lengths, name, rate,"
    " rollout, seed"
  ),
  "--config=toy.py --config.rollout.grop_size=1": (
    "config.rollout has no key 'grop_size': did you mean 'group_size'? there are greedy, group_size"
  ),
  "--config=toy.py --config.seed.x=1": "config.seed has no key 'x': there is nothing",
  "--config=toy.py --config.rollout={'a':3}": (
    "config.rollout is a section: set one of its keys, greedy, group_size"
  ),
  "--config=toy.py --config.seed=abc": "config.seed cannot be 'abc': it must be like 0",
  "--config=toy.py --config.seed=1.5": "config.seed cannot be '1.5': it must be like 0",
  "--config=toy.py --config.rollout.greedy=maybe": "config.rollout.greedy cannot be 'maybe':"
  " it must be like False",
  "--config=toy.py --config.lengths=(1,2.5)": "config.lengths cannot be (1, 2.5): it must"
  " be like (1, 2)",
  "--config=other/named.py --config.env.name=my_lab.nothing": (
    "there is no module 'my_lab.nothing': Python looks for it in the current folder, in that"
    " of the --config file, and in those of PYTHONPATH"
  ),
  "--config=other/named.py --config.algorithm.name=grpo --config.algorithm.k=1": (
    "config.algorithm has no key 'k': there are clip_low, name"
  ),
  "--config=toy.py --wrkdir=x": "there is no flag --wrkdir: did you mean --workdir?",
  "--config=toy.py --zzz": "there is no flag --zzz: --help lists all flags",
  "--config=toy.py --seed=3": "there is no flag --seed: did you mean --config.seed?",
  "--group_size=3 --config=toy.py": (
    "there is no flag --group_size: did you mean --config.rollout.group_size?"
  ),
  "--config=toy.py --config.seed": "Missing value for flag --config.seed",
  "--config=toy.py workdir=x": "'workdir=x' is not a flag: a flag looks like --workdir=FOLDER",
  "--config=toy.py --config.name=border": "the loss is NaN",
  "--config=toy.py --config.name=written --workdir=held": "held is a folder: name a file to"
  " write to.",
  "--config=toy.py --config.name=written --workdir=toy.py": "--workdir=toy.py cannot be used,"
  " for toy.py: File exists.",
  "--config=toy.py --config.name=written --a_source=toy.py/a --workdir=toy.py": (
    "--workdir=toy.py cannot be used, for toy.py: File exists."
  ),
  "--config=toy.py --config.name=written --workdir=toy.py/x/y": "--workdir=toy.py/x/y cannot be"
  " used, for toy.py/x: Not a directory.",
  "--config=toy.py --workdir=held": "held holds a run that cannot go on with this config:"
  " config.seed is 9 there and 0 now (identity: each step's tasks and samples follow from it)."
  " Give another --workdir, or the values there; --init_from=held begins a new run from its"
  " weights.",
}

BUGS = {
  "--config=toy.py --config.name=bug": "ValueError: list.remove(x): x not in list",
  "--config=toy.py --config.name=library": "ValueError: invalid literal for int()",
  "--config=toy.py --config.name=missing --workdir=held": "No such file or directory",
  "--config=toy.py --config.name=border --verbosity=1": "FloatingPointError: the loss is NaN",
}

INTERRUPTED = "--config=toy.py --config.name=interrupted"


# Imports run once: every command line runs in a fork of one fresh process.
DRIVER = """
import gc, json, os, runpy, sys
import empg_jax.cli.command_line, ml_collections.config_flags

gc.freeze()  # keeps the forks from walking through all that was imported
outcomes = []
for number, line in enumerate(json.load(sys.stdin)):
  child = os.fork()
  if not child:
    for stream in (1, 2):
      os.dup2(os.open(f"{number}.{stream}", os.O_WRONLY | os.O_CREAT), stream)
    sys.argv = ["train.py", *line.split()]
    runpy.run_path("train.py", run_name="__main__")
    sys.exit()
  code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
  outcomes.append([code, *(open(f"{number}.{stream}").read() for stream in (1, 2))])
print(json.dumps(outcomes))
"""


class Outcome(NamedTuple):
  code: int
  stdout: str
  stderr: str


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
  """The outcome of every command line above."""
  folder = tmp_path_factory.mktemp("launch")
  (folder / "train.py").write_text(SCRIPT)
  (folder / "toy.py").write_text(CONFIG)
  (folder / "held").mkdir()
  (folder / "held" / "other.py").write_text("")
  (folder / "held" / "metrics.jsonl").write_text('{"step": 0}\n')
  (folder / "held" / "config.json").write_text(
    '{"seed": 9, "name": "x", "rate": 0.001, "lengths": [1, 2],'
    ' "rollout": {"group_size": 8, "greedy": false}}'
  )
  for place, text in {
    "other/named.py": NAMED,
    "my_lab/own.py": OWN,
    "other/her_lab/own.py": OWN,
  }.items():
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).write_text(text)
  lines = [*RIGHT, *MADE, *WRONG, *BUGS, INTERRUPTED]
  driver = subprocess.run(
    [sys.executable, "-c", DRIVER],
    cwd=folder,
    env=dict(os.environ, PYTHONPATH=str(ROOT), JAX_PLATFORMS="cpu"),
    input=json.dumps(lines),
    stdout=subprocess.PIPE,
    text=True,
    check=True,
  )
  return {line: Outcome(*out) for line, out in zip(lines, json.loads(driver.stdout))}


@pytest.mark.parametrize("line", RIGHT)
def test_a_right_command_line_reaches_main(outcomes, line):
  assert outcomes[line].code == 0, outcomes[line].stderr
  assert ast.literal_eval(outcomes[line].stdout) == GIVEN | RIGHT[line]


@pytest.mark.parametrize("line", MADE)
def test_a_maker_named_on_the_command_line_has_its_own_arguments(outcomes, line):
  assert outcomes[line].code == 0, outcomes[line].stderr
  assert ast.literal_eval(outcomes[line].stdout) == {"name": "x"} | MADE[line]


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_command_line_is_reported_in_one_line(outcomes, line):
  assert outcomes[line].stderr == f"error: {WRONG[line]}\n"
  assert outcomes[line].code == 1
  assert outcomes[line].stdout == ""


@pytest.mark.parametrize("line", BUGS)
def test_bugs_and_verbose_errors_have_a_traceback(outcomes, line):
  assert "Traceback" in outcomes[line].stderr
  assert BUGS[line] in outcomes[line].stderr
  assert outcomes[line].code == 1


def test_an_interrupted_run_says_so(outcomes):
  assert outcomes[INTERRUPTED].stderr == "interrupted\n"
  assert outcomes[INTERRUPTED].code == 130
