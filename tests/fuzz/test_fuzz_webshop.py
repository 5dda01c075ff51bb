"""Any files of a shop make a working shop or are refused with a one-line error."""

import itertools
import json

import damage
from hypothesis import given, settings, strategies as st
import pytest

from empg_jax.envs import webshop
from empg_jax.envs.webshop import embedded

ITEMS = embedded.files()[0][:3]
ASINS = [item["asin"] for item in ITEMS]
FILES = {
  "items_shuffle_1000.json": ITEMS,
  "items_ins_v2_1000.json": {k: v for k, v in embedded.files()[1] if k in ASINS},
  "items_human_ins.json": {k: v for k, v in embedded.files()[2] if k in ASINS},
}
GOALS = st.sampled_from(["human", "synthetic"])


@pytest.fixture(scope="module")
def visit(tmp_path_factory):
  """Searches and buys everything in the shop of these files; returns its tasks."""
  root, numbers = tmp_path_factory.mktemp("webshop"), itertools.count()

  def visit(files, goals):
    folder = root / str(next(numbers))
    folder.mkdir()
    for name, content in files.items():
      (folder / name).write_bytes(content)
    patch.setenv("WEBSHOP_DATA", str(folder))
    patch.setenv("EMPG_JAX_CACHE", str(folder / "cache"))
    options = dict(catalogue="small", goals=goals)
    tasks = damage.answered(lambda: webshop.tasks("test", **options)) or []
    for task in tasks[:3]:
      buy(webshop.make(show_commands=True), task)
    return tasks

  with pytest.MonkeyPatch.context() as patch:
    yield visit


def buy(env, task):
  """Buys each item found, with each option's last value."""
  first = env.reset(task)
  assert webshop.task_type(task) is not None
  found = env.step(f"search[{first}]")
  for asin in found.info["clickables"][:3]:
    page = env.step(f"click[{asin}]")
    for name in page.info["clickables"]:
      page = env.step(f"click[{name}]")
      if page.done:
        assert 0 <= page.reward <= 1
        return


def written(content):
  return json.dumps(content).encode()


WHOLE = {name: written(content) for name, content in FILES.items()}


@pytest.mark.parametrize("goals", ["human", "synthetic"])
def test_the_whole_files_make_a_shop(visit, goals):
  assert visit(WHOLE, goals)


@settings(max_examples=100)
@given(name=st.sampled_from(sorted(FILES)), goals=GOALS, data=st.data())
def test_files_with_other_values_make_a_shop_or_are_refused(visit, name, goals, data):
  content = data.draw(damage.values(FILES[name]))
  visit(WHOLE | {name: written(content)}, goals)


@settings(max_examples=60)
@given(name=st.sampled_from(sorted(FILES)), goals=GOALS, data=st.data())
def test_damaged_files_make_a_shop_or_are_refused(visit, name, goals, data):
  visit(WHOLE | {name: data.draw(damage.contents(WHOLE[name]))}, goals)


@settings(max_examples=60)
@given(goals=GOALS, pricing=st.text(st.sampled_from("$0123456789.,- e²٣"), max_size=30))
def test_whatever_stands_as_a_price_is_one_or_is_refused(visit, goals, pricing):
  items = [ITEMS[0] | {"pricing": pricing}, *ITEMS[1:]]
  visit(WHOLE | {"items_shuffle_1000.json": written(items)}, goals)
