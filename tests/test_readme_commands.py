"""Every command of the READMEs is one that a test runs, or says what it needs.

Those of launch/ are held against the scripts' flags, the configs' presets and their keys; the
tests named here run the same scripts with other sizes.
"""

import ast
import functools
import re
import shlex

import pytest
import readmes

from empg_jax.config import config as configs

ROOT = readmes.ROOT


def lines_of(block):
  """Its lines, with variables replaced; without the lines that set them."""
  variables = {}
  for line in filter(None, map(str.strip, block.splitlines())):
    if setting := re.fullmatch(r'([A-Z_]+)="(.*)"', line):
      variables[f"${setting[1]}"] = setting[2]
    elif not line.startswith("export "):
      yield functools.reduce(
        lambda text, name: text.replace(name, variables[name]), variables, line
      )


LINES = {
  name: [line for block in readmes.blocks(name, "bash") for line in lines_of(block)]
  for name in readmes.NAMES
}
EVERY_LINE = sorted({line for lines in LINES.values() for line in lines})
TESTS = {
  "launch/benchmark.py": "tests/test_benchmark.py",
  "launch/check.py": "tests/test_hosts.py",
  "launch/evaluate.py": "tests/test_evaluate.py",
  "launch/export.py": "tests/test_export.py",
  "launch/pages.py": "tests/pages/test_render.py",
  "launch/plan.py": "tests/plan/test_compiled_for_tpu.py",
  "launch/play.py": "tests/test_play.py",
  "launch/plot.py": "tests/plots/test_plots.py",
  "launch/sft.py": "tests/test_sft_command.py",
  "launch/train.py": "tests/test_train.py",
  "empg_jax.cli.docs": "tests/test_reference.py",
}
OF_ABSL = {"verbosity", "help"}
OF_CI = ("python3 -m venv .venv", "pip install -r requirements.txt", ".venv/bin/pytest -n 2")
CHECKS = (".venv/bin/ruff check", ".venv/bin/ruff format", ".venv/bin/mypy")


def commands(line):
  """The commands of a line, without the comment: [["launch/train.py", "--config=..."], ...]."""
  found = []
  for command in re.split(r"\s+(?:#|&$)", line)[0].split(" && "):
    words = [word for word in shlex.split(command) if not re.match(r"[A-Z_]+=", word)]
    while words[0] in (".venv/bin/python", "python", "-m"):
      words = words[1:]
    words[0] = words[0].removeprefix(".venv/bin/")
    if words[0] == "empg" and not words[1].startswith("-"):
      words[:2] = [f"launch/{words[1]}.py"]
    found.append(words)
  return found


def flags_of(script):
  """The names of the flags that a script defines, from its source."""
  calls = [node for node in ast.walk(ast.parse((ROOT / script).read_text()))
           if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]  # fmt: skip
  return {call.args[0].value for call in calls if call.func.attr.lower().startswith("define_")}


def check_flags(script, words):
  known, config = flags_of(script) | OF_ABSL, None
  for word in (word for word in words if word.startswith("--")):
    name, _, value = word[2:].partition("=")
    if name == "config" and not value.startswith("my_lab/"):
      config = configs.load(str(ROOT / value) if value.startswith("configs/") else value)
    if name.startswith("config."):
      assert name.removeprefix("config.") in dict(configs.leaves(config)), word
    else:
      assert name in known or name.removeprefix("no") in known, f"{script} has no flag {word}"
  return config


@pytest.mark.parametrize("line", EVERY_LINE)
def test_a_command_is_run_by_a_test_or_says_what_it_needs(line):
  needs = re.search(r"# needs \w", line)
  for program, *words in commands(line):
    if any(text in line for text in OF_CI + CHECKS) and not program.startswith("launch/"):
      continue
    if program not in TESTS:
      assert needs, f"no test runs {program}: name one in TESTS, or write '# needs ...' behind it"
      continue
    if program == "empg_jax.cli.docs":
      continue
    config = check_flags(program, words)
    if config is not None and config.mesh.fsdp * config.mesh.tensor > 1:
      assert needs, "this preset is for several chips: write '# needs ...' behind it"


def test_the_tests_named_here_run_their_commands():
  for program, test in TESTS.items():
    name = re.split("[/-]", program)[-1]
    runs = re.search(rf'["/-]{re.escape(name)}"', (ROOT / test).read_text())
    assert runs, f"{test} does not run {program}"


def test_ci_runs_the_quickstart():
  run = (ROOT / ".ci" / "run").read_text()
  assert all(part in run for part in ("python3 -m venv .venv", "requirements.txt", OF_CI[-1]))
  assert all(part in run for part in CHECKS[:2])  # a test runs the third
  assert any(all(part in line for part in OF_CI) for line in LINES["README.md"])


@pytest.mark.parametrize("name", readmes.NAMES)
def test_every_flag_that_the_text_names_is_a_flag(name):
  known = set().union(OF_ABSL, *(flags_of(f"launch/{path.name}")
                                 for path in (ROOT / "launch").glob("*.py")))  # fmt: skip
  keys = set()
  for path in sorted((ROOT / "configs").glob("*.py")):
    keys |= dict(configs.leaves(configs.load(str(path)))).keys()
  for flag in re.findall(r"(?<![\w-])--([a-z][\w.-]*)", readmes.prose(name)):
    if flag.startswith("config."):
      assert flag.removeprefix("config.").rstrip(".") in keys, flag
    else:
      assert flag in known or flag.removeprefix("no") in known, flag


def said_in_the_code():
  """All strings of the code, with … for what a formatted one fills in."""
  for folder in ("empg_jax", "launch"):
    for path in (ROOT / folder).rglob("*.py"):
      for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
          yield node.value
        elif isinstance(node, ast.JoinedStr):
          parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
          yield "".join(parts)


def test_the_explained_messages_are_in_the_code():
  table = readmes.TEXTS["launch/README.md"].split("## When it prints")[1]
  messages = re.findall(r"^\| `(.*?)`", table, re.M)
  said = list(said_in_the_code())
  assert len(messages) >= 8
  for message in messages:
    assert any(message in text for text in said), f"nothing prints: {message}"
