"""Our shop against the original's text mode, as recorded."""

import collections
import json
import lzma
import pathlib
import runpy

import pytest

from empg_jax.envs.webshop.environment import WebShop, tasks

ROOT = pathlib.Path(__file__).parents[2]
RECORDER = runpy.run_path(str(ROOT / "tests" / "golden" / "make_webshop_traces.py"))
KINDS = ("human", "synthetic")


@pytest.fixture(scope="module")
def recording():
  return json.loads(lzma.decompress(RECORDER["FILE"].read_bytes()))


@pytest.fixture(autouse=True)
def folder(recording, tmp_path, monkeypatch):
  monkeypatch.setenv("WEBSHOP_DATA", str(tmp_path))
  RECORDER["write_files"](recording["files"], tmp_path)


@pytest.mark.parametrize("goals", KINDS)
def test_goals_and_their_order_are_the_originals(recording, goals):
  names = tasks("test", catalogue="small", goals=goals)
  names += tasks("train+eval", catalogue="small", goals=goals)
  env = WebShop()
  read = [env.reset(name).split(" [SEP] ")[2] for name in names]
  assert read == [text.strip() for text in recording["goals"][goals]]


@pytest.mark.parametrize("goals", KINDS)
def test_pages_clickables_and_rewards_are_the_originals(recording, goals):
  env = WebShop()
  for episode in recording["episodes"][goals]:
    assert env.reset(f"small/{goals}/{episode['number']}") == episode["first"]
    for action, observation, reward, done, offered, parts in episode["steps"]:
      step = env.step(action)
      assert step.observation == observation, action
      assert (step.reward, step.done) == (reward, done)
      assert {key: step.info[key] for key in offered} == offered
      assert {key: step.info[key] for key in parts} == parts


def test_the_recording_holds_every_kind_of_page(recording):
  pages = collections.Counter(
    page
    for goals in KINDS
    for episode in recording["episodes"][goals]
    for _, text, _, _, offered, _ in episode["steps"]
    for page, sign in {
      "search": offered["has_search_bar"],
      "first results": "Page 1 (Total" in text,
      "later results": "] < Prev [SEP] Next >" in text,
      "no results": "(Total results: 0)" in text,
      "item": "buy now" in offered["clickables"],
      "sub-page": offered["clickables"] == ["back to search", "< prev"],
      "done": text.startswith("Thank you"),
    }.items()
    if sign
  )
  assert len(pages) == 7 and min(pages.values()) >= 3
