"""The page of episodes as a file: small, closed to the outside, and made by one command."""

import base64
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys

import made
import pytest

from empg_jax import pages
from empg_jax.tracking import episode_files
from empg_jax.tracking.episode_files import EpisodeSet

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("run")
  made.write(workdir)
  return workdir


def command(*arguments):
  return subprocess.run(
    [sys.executable, str(ROOT / "launch" / "pages.py"), *arguments],
    cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    timeout=600,
  )  # fmt: skip


def test_a_run_and_a_single_file_each_make_one_page(workdir):
  done = command(f"--workdir={workdir}")
  assert done.returncode == 0, done.stderr
  page = workdir / "episodes.html"
  assert done.stdout == f"{page}: 10 episodes of 3 files, 0.1 MB\n"
  file = workdir / "episodes" / "step_000020.valid_seen.jsonl.gz"
  assert pages.write([file], "one", workdir / "new" / "one.html") == 2
  assert len(page.read_text()) > len((workdir / "new" / "one.html").read_text()) > 10_000


def test_a_mistake_is_one_sentence(tmp_path):
  done = command(f"--workdir={tmp_path}")
  assert done.returncode == 1
  assert done.stderr.startswith("error: There are no episodes in ")
  assert len(done.stderr.splitlines()) == 1


def test_the_page_lists_the_runs_amendments(workdir, tmp_path):
  other = shutil.copytree(workdir, tmp_path / "run")
  change = {"step": 10, "key": "optimizer.learning_rate", "old": 0.5, "new": 0.25}
  hidden = {"step": 10, "key": "workers.count", "old": 0, "new": 1}
  lines = "".join(json.dumps(row) + "\n" for row in (change, hidden))
  (other / "amendments.jsonl").write_text(lines)
  done = command(f"--workdir={other}")
  assert done.returncode == 0, done.stderr
  page = (other / "episodes.html").read_text()
  assert "<li>after step 10: optimizer.learning_rate 0.5 → 0.25</li></ul>" in page
  assert pages.render([], "x", ["<b>"]).count("<li>&lt;b&gt;</li>") == 1


def test_no_text_of_an_episode_becomes_markup_of_the_page(workdir):
  sets = [episode_files.read(path) for path in episode_files.files(workdir)]
  page = pages.render(sets, "<i>title</i> & $sets")
  plain = pages.render([], "x")
  assert page.count("<script") == plain.count("<script") + len(sets)
  assert page.count("</script") == plain.count("</script") + len(sets)
  for text in ("<i>", "<b>", "<img", "<!-- $"):
    assert text not in page
  assert "<title>&lt;i&gt;title&lt;/i&gt; &amp; $sets</title>" in page


def test_only_its_own_style_and_script_may_run(workdir):
  page = pages.render([], "x")
  policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
  allowed = dict(part.split(" ", 1) for part in policy.split("; "))
  assert allowed.pop("default-src") == allowed.pop("base-uri") == "'none'"
  assert allowed.pop("form-action") == "'none'"
  for tag in ("style", "script"):
    (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    assert allowed.pop(f"{tag}-src") == f"'sha256-{digest}'"
  assert not allowed
  assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|https?:(?!//www"
                       r"\.w3\.org/2000/svg)", page)  # fmt: skip


TURN = {"observation": "", "action": None, "reward": 0.0, "ids": [], "tokens": [],
        "entropies": [], "values": {}}  # fmt: skip


def played(step, split, *outcomes, turns=(1, 1)):
  """A set of episodes that are (type, success, ended), and how many turns they took."""
  return EpisodeSet(step, split, [
      {"task": f"{kind}/{at}", "type": kind, "group": at, "index": 0, "success": won,
       "ended": ended, "reward": float(won), "info": {}, "turns": [TURN] * turns[at]}
      for at, (kind, won, ended) in enumerate(outcomes)
  ])  # fmt: skip


def test_the_top_has_success_over_steps_by_type_and_by_turn_without_aborted_episodes():
  sets = [
    played(0, "valid", ("heat", False, "turns"), ("cool_<it>", True, "done"), turns=(30, 7)),
    played(5, "train", ("heat", True, "done"), ("heat", False, "aborted"), turns=(21, 1)),
    played(5, "valid", ("heat", True, "done"), ("cool_<it>", True, "done"), turns=(10, 2)),
  ]
  page = pages.render(sets, "x")
  top = page.split('id="summary"')[1]
  steps, types, turns = re.findall(r"<tbody>(.*?)</tbody>", top, re.DOTALL)
  assert re.findall(r'<th scope="row">(.*?)</th>', steps) == ["0", "5"]
  assert re.findall('<a href="#(.*?)" title="(.*?)">(.*?)</a>', steps) == [
    ("step_000000.valid", "1 of 2 won", "50%"),
    ("step_000005.train", "1 of 1 won", "100%"),
    ("step_000005.valid", "2 of 2 won", "100%"),
  ]
  assert re.findall(r'<th scope="row">(.*?)</th>', types) == ["cool &lt;it&gt;", "heat"]
  assert re.findall('<span title="(.*?)">(.*?)</span>', types) == [
    ("1 of 1 won → 1 of 1 won", "100% → 100%"),
    ("1 of 1 won", "100%"),
    ("0 of 1 won → 1 of 1 won", "0% → 100%"),
  ]
  assert re.findall(r'<th scope="row">(.*?)</th>', turns) == ["≤ 5", "≤ 10", "≤ 15", "≤ 20", "≤ 25"]
  assert re.findall('<span title=".*?">(.*?)</span>', turns) == [
    "0%", "0% → 50%", "0%", "50% → 100%", "0%", "50% → 100%", "0%", "50% → 100%",
    "100%", "50% → 100%",
  ]  # fmt: skip
  assert 'id="summary"' not in pages.render(sets[:1], "x")
  assert "–</a>" in pages.render([sets[0], played(9, "train", ("heat", False, "aborted"))], "x")


def test_the_title_names_environment_method_and_seed(workdir, tmp_path):
  other = shutil.copytree(workdir, tmp_path / "mine")
  algorithm = {"name": "empg", "k": 1.0, "zeta": 0.05, "base": {"name": "grpo"}}
  config = {"env": {"name": "webshop"}, "algorithm": algorithm, "seed": 3, "model": {"path": ""}}
  (other / "config.json").write_text(json.dumps(config))
  assert command(f"--workdir={other}").returncode == 0
  title = "mine: webshop, empg over grpo, k=1, zeta=0.05, seed 3"
  assert f"<h1>{title}</h1>" in (other / "episodes.html").read_text()


def long_episode(rng, index):
  """50 turns of 24 tokens, no observation of which repeats."""

  def turn(at):
    words = " ".join(rng.choice(["a", "cabinet", "fridge", "see", "you", "is"]) for _ in range(25))
    return {
      "observation": f"{index} {at} {words}", "action": f"go to cabinet {at}", "reward": 0.0,
      "ids": [rng.randrange(800) for _ in range(24)], "tokens": [" token"] * 24,
      "entropies": [round(rng.random(), 3) for _ in range(24)],
      "values": {name: rng.gauss(0, 1) for name in "abcdef"},
    }  # fmt: skip

  return {
    "task": f"small/train/heat-{index}", "type": "heat", "group": index // 8, "index": index % 8,
    "success": True, "ended": "done", "reward": 1.0, "info": {"won": True},
    "turns": [turn(at) for at in range(50)],
  }  # fmt: skip


def test_200_episodes_of_50_turns_are_below_5_mb():
  rng = random.Random(0)
  played = EpisodeSet(20, "train", [long_episode(rng, index) for index in range(200)])
  assert len(pages.render([played], "x").encode()) < 5e6
