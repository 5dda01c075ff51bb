"""The page of episodes in a real browser, opened from disk."""

import re
import time

import browser
import contrast
import made
import numpy as np
import pytest

from empg_jax import pages
from empg_jax.tracking import episode_files

pytestmark = pytest.mark.skipif(
  not (browser.CHROMIUM and browser.DRIVER), reason="no chromium with a chromedriver is installed"
)
TRAIN = "#step_000020.train"


@pytest.fixture(scope="module")
def chromium():
  with browser.Browser() as opened:
    yield opened


@pytest.fixture(scope="module")
def address(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("run")
  made.write(workdir)
  pages.write(episode_files.files(workdir), "runs/<b>made</b>", workdir / "page.html")
  return (workdir / "page.html").as_uri()


@pytest.fixture
def page(chromium, address):
  """The page as it opens; at the end nothing may have been asked for or complained about."""
  chromium.devtools("Emulation.setDeviceMetricsOverride",
                    width=1280, height=900, deviceScaleFactor=1, mobile=False)  # fmt: skip
  chromium.log("performance"), chromium.log("browser")
  chromium.open(address)
  yield chromium
  assert {url.split("#")[0] for url in chromium.requests()} <= {address}
  assert chromium.log("browser") == []


def listed(page):
  return page.texts("#list .place")


def shown(page):
  """Group and member of the episode that is shown."""
  return page.run("return location.hash").split("/")[1]


def numbers(page, step):
  """{name: what is shown} of a step."""
  return page.run(
    "const shown = document.querySelectorAll(`#step-${arguments[0]} [data-value]`);"
    "return Object.fromEntries([...shown].map((e) => [e.dataset.value,"
    " Number(e.textContent.replace('−', '-'))]))", step - 1,
  )  # fmt: skip


def test_it_opens_from_disk_and_lists_the_episodes(page):
  assert page.texts("h1") == ["runs/<b>made</b>"]
  assert page.texts("#set option") == [
    "step 20, train (8)", "step 20, valid_seen (2)", "step 30, valid_seen (0)",
  ]  # fmt: skip
  assert len(listed(page)) == 8
  assert page.texts("#count span") == ["8 episodes · 42.9% won"]  # one of them was aborted
  page.choose("set", "step_000020.valid_seen")
  assert page.texts("#list .type") == ["heat", "cool it"]
  assert numbers(page, 1).keys() == {"entropy", "reward"}


@pytest.mark.parametrize(
  "filters, want",
  [
    ({"type": "cool_it"}, ["1-0", "1-1", "1-2"]),
    ({"outcome": "won"}, ["0-0", "0-2", "1-1"]),
    ({"outcome": "aborted"}, ["1-2"]),
    ({"group": "2"}, ["2-0", "2-1"]),
    ({"shortest": "3"}, ["0-0", "0-2"]),
    ({"shortest": "2", "longest": "3", "type": "heat"}, ["0-0", "0-1", "2-0", "2-1"]),
    ({"search": "zugzwang & <I>"}, ["1-1"]),
    ({"search": "turn 1 of heat/0"}, ["0-0", "0-1", "0-2"]),
    ({"search": "a trap"}, ["1-2"]),
  ],
  ids=str,
)
def test_filters_list_the_matching_episodes(page, filters, want):
  for name, value in filters.items():
    page.choose(name, value)
  found = [re.findall(r"\d+", place) for place in listed(page)]
  assert ["-".join(pair) for pair in found] == want
  assert shown(page) == want[0]
  page.click("#clear")
  assert len(listed(page)) == 8


def test_the_numbers_equal_those_of_the_algorithm(page, address):
  page.open(f"{address}{TRAIN}/0-2")
  played = made.TRAINED[2]
  assert dict(zip(page.texts(".facts dt"), page.texts(".facts dd")))["return"] == "1"
  for step, (turn, want) in enumerate(zip(played.turns, made.explained()[0, 2], strict=True), 1):
    found = numbers(page, step)
    assert found.pop("reward") == pytest.approx(turn.reward)
    assert found == pytest.approx(want, abs=6e-4)
    assert found["entropy"] == pytest.approx(np.mean(turn.entropy), abs=6e-4)
    labels = page.run(
      "return [...document.querySelectorAll(`#step-${arguments[0]} .token`)]"
      ".map((e) => e.dataset.label)", step - 1,
    )  # fmt: skip
    nats = [float(re.search(r"([\d.]+) nats", x)[1]) for x in labels]
    assert nats == pytest.approx(turn.entropy, abs=6e-4)
    assert labels[0].startswith("“<” · id 60") and labels[-1].startswith("end of the reply · id 0")


def test_it_opens_on_the_newest_training_step(chromium, tmp_path):
  made.write(tmp_path)
  played = episode_files.read(episode_files.files(tmp_path)[0]).episodes
  places = [(0, "valid"), (10, "train"), (20, "train"), (20, "valid")]
  sets = [episode_files.EpisodeSet(step, split, played) for step, split in places]
  (tmp_path / "page.html").write_text(pages.render(sets, "x"), encoding="utf-8")
  chromium.open((tmp_path / "page.html").as_uri())
  assert chromium.run("return location.hash").startswith("#step_000020.train/")
  chromium.click('#summary a[href="#step_000010.train"]')
  shown = "return document.getElementById('set').value"
  deadline = time.monotonic() + 10  # the browser tells the page of a new address when it has time
  while chromium.run(shown) != "step_000010.train":
    assert time.monotonic() < deadline


def test_colours_and_heights_go_by_the_square_root_up_to_the_95th_percentile(page, address):
  page.open(f"{address}{TRAIN}/0-2")
  played = made.TRAINED + made.DROPPED
  entropies = np.concatenate([turn.entropy for episode in played for turn in episode.turns])
  top = float(page.run("return document.querySelector('#scale > :last-child').textContent")
              .split()[1])  # fmt: skip
  assert np.quantile(entropies, 0.95) <= top <= 1.6 * np.quantile(entropies, 0.95)
  drawn = page.run("return [...document.querySelectorAll('.token')].map((e) =>"
                   " [e.dataset.label, e.style.getPropertyValue('--heat')])")  # fmt: skip
  for label, heat in drawn:
    nats = float(re.search(r"([\d.]+) nats", label)[1])
    assert float(heat) == pytest.approx(min(nats / top, 1) ** 0.5, abs=2e-3)
  final = [values["advantage"] for turns in made.explained().values() for values in turns]
  full = np.quantile(np.abs(final), 0.95, method="higher")
  for step, values in enumerate(made.explained()[0, 2]):
    height = page.run("return document.querySelector(`.columns [data-turn='${arguments[0]}']"
                      " .advantage`).style.getPropertyValue('--share')", step)  # fmt: skip
    want = min(abs(values["advantage"]) / full, 1) ** 0.5
    assert float(height) == pytest.approx(want, abs=2e-3)


def test_the_group_is_shown_with_links_to_its_members(page):
  assert page.texts(".group summary") == ["Group 0: 2 of 3 members won"]
  assert page.texts(".group tbody td:nth-child(2)") == ["1", "0", "1"]
  assert page.texts(".group tbody td:nth-child(3)") == ["3", "2", "4"]
  page.click(".group tbody tr:nth-child(3) button")
  assert shown(page) == "0-2"
  page.press("m")
  assert shown(page) == "0-0"


def test_every_function_has_a_key(page):
  page.press("j", "j")
  assert shown(page) == "0-2"
  page.press("k", "ArrowRight", "ArrowDown")
  assert shown(page) == "1-0"
  page.press("j", "n", "n")
  assert page.run("return document.activeElement.id") == "step-1"
  page.press("p")
  assert page.run("return location.hash").endswith("/1-1/1")
  page.press("t")
  assert page.run("return document.body.className") == "in-numbers"
  page.press("t", "/", *"heat/2")
  assert page.run("return document.activeElement.id") == "search" and shown(page) == "2-0"
  page.press("Escape", "j")
  assert shown(page) == "2-1"
  page.press("?")
  assert page.run("return document.getElementById('help').open")
  page.press("Escape")
  assert not page.run("return document.getElementById('help').open")


def test_texts_of_an_episode_are_shown_as_text(page, address):
  page.open(f"{address}{TRAIN}/1-1/2")
  assert page.run("return document.querySelector('.observation').textContent") == made.HOSTILE
  assert page.texts(".task") == ["cool_it/<b>1</b>"]
  assert page.run("return document.querySelector('main script, main img, main b, main i')") is None
  assert "Zugzwang & <i>so on</i>↵\n<a>😀</a>■" in page.texts(".reply")[0]
  assert page.texts(".action") == ["no valid action", "wait"]
  assert page.texts(".more") == ["all 40 lines"]
  assert page.run("return document.activeElement.id") == "step-1"
  page.choose("search", "so on</i>")
  assert page.run("return [...CSS.highlights.get('found')].map(String)") == ["so on</i>"]


def test_the_tags_of_a_reply_are_dimmed_wherever_tokens_are_cut(chromium, tmp_path):
  made.write(tmp_path)
  played = episode_files.read(episode_files.files(tmp_path)[0])
  turn = played.episodes[0]["turns"][0]
  turn["tokens"] = ["1 <thi", "nk>a", " < b", "</think><act", "ion>", "x", "<|im_end|>", ""]
  turn["ids"], turn["entropies"] = list(range(8)), [0.0] * 8
  (tmp_path / "page.html").write_text(pages.render([played], "x"), encoding="utf-8")
  chromium.open((tmp_path / "page.html").as_uri())
  dimmed = chromium.texts("#step-0 .markup")
  assert dimmed == ["<thi", "nk>", "</think>", "<act", "ion>", "<|im_end|>"]
  assert chromium.texts("#step-0 .reply") == ["1 <think>a < b</think><action>x<|im_end|>■"]
  colour = "return getComputedStyle(document.querySelector(arguments[0])).color"
  tag, text = (chromium.run(colour, f"#step-0 {x}") for x in (".markup", ".token"))
  assert tag != text


def test_an_empty_view_says_why_it_is_empty(page, address):
  page.open(f"{address}{TRAIN}/1-2")
  (notice,) = page.texts(".notice")
  assert notice.startswith("Aborted: KeyError: '<i>a trap</i>' The turns before that are below;")
  page.open(f"{address}{TRAIN}/2-0")
  assert page.texts(".notice")[0].startswith("Not trained on: ")
  page.choose("search", "nobody said this")
  assert page.texts("#episode h2") == ["No match"] and listed(page) == []
  page.open(f"{address}#step_000030.valid_seen")
  assert page.texts("#episode h2") == ["No episodes"]
  page.open(f"{address}#nothing/%E0/x")  # no address breaks it
  assert len(listed(page)) == 8


def test_the_same_game_stays_selected_in_another_set(page, address):
  page.open(f"{address}{TRAIN}/2-0")
  page.choose("set", "step_000020.valid_seen")
  assert shown(page) == "0-0"
  page.choose("set", "step_000020.train")
  assert page.texts(".task") == ["heat/0"]


def test_a_phone_shows_the_list_and_then_the_episode(page):
  page.devtools("Emulation.setDeviceMetricsOverride",
                width=360, height=740, deviceScaleFactor=2, mobile=True)  # fmt: skip
  visible = "return ['side', 'episode'].map((id) => document.getElementById(id).offsetHeight > 0)"
  assert page.run(visible) == [True, False]
  hidden = page.run("return document.getElementById('group').checkVisibility()")
  page.click("#filters summary")
  assert [hidden, page.run("return document.getElementById('group').checkVisibility()")] == [
    False, True,
  ]  # fmt: skip
  page.click("#list li:nth-child(5)")
  assert page.run(visible) == [False, True] and shown(page) == "1-1"
  line, values = page.run(
    "const found = document.querySelector('#step-0 .numbers');"
    "return [found.querySelector('summary').innerText, found.open]"
  )
  want = made.explained()[1, 1][0]
  assert line.split()[:4] == ["H", f"{want['entropy']:.3f}", "g", f"{want['g']:.3f}"]
  assert not values  # all of them are there on demand
  assert page.run("return document.documentElement.scrollWidth") == 360
  page.click(".back")
  assert page.run(visible) == [True, False]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_the_contrast_of_wcag_aa(page, scheme):
  page.devtools("Emulation.setEmulatedMedia",
                features=[{"name": "prefers-color-scheme", "value": scheme}])  # fmt: skip
  page.press("?")
  least, where = page.run(contrast.LEAST)
  assert least >= 4.5, where


def test_no_script_but_its_own_runs(page):
  ran = page.run(
    "const added = document.createElement('script'); added.textContent = 'window.ran = 1';"
    "document.body.append(added); return window.ran"
  )
  assert ran is None
  assert "Content Security Policy" in page.log("browser")[0]["message"]
