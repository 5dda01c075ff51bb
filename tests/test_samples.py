"""The table of sample episodes that trackers show with each row."""

from html.parser import HTMLParser

import markdown_it
import numpy as np
import pytest

from empg_jax.tracking import episode_files, samples, transcript
from empg_jax.tracking.samples import Sample
from empg_jax.types import Episode, Turn

HOSTILE = (
  "<script>alert(1)</script> <img src=x onerror=alert(2)> ![p](http://x/p.png) [a](javascript:b)"
  " | cell | `code` **bold** https://x.example &lt;b&gt; \\| \u202e"
)
HOSTILE = f"{HOSTILE}\n\n```\n# heading\n    indented\n<div>\n| a |\n|---|\n"


def letters(ids):
  """One id per character; 0 ends a reply."""
  return "".join(chr(i) for i in ids if i)


def episode(task, text="ok", turns=2, **other):
  ids = np.array([*map(ord, text), 0], np.int32)
  entropy = np.full(len(ids), 0.25, np.float32)
  turn = Turn((1,), ids, -entropy, entropy, f"A room. {text}", text, "look", 0.0)
  fields = dict(group=0, index=0, reward=0.5, success=True, ended="done", info={}) | other
  return Episode(task, turns=(turn,) * turns, **fields)


def write(workdir, step, split, episodes):
  kind = lambda task: task.split("/")[0]
  episode_files.write(workdir, step, split, episodes, text=letters, task_type=kind)


def test_a_row_has_the_episodes_that_were_written_in_its_step(tmp_path):
  write(tmp_path, 5, "train", [episode(f"heat/{n}") for n in range(20)])
  write(tmp_path, 5, "valid", [episode("cool/1", turns=0, success=False, ended="aborted")])
  write(tmp_path, 6, "train", [episode("other/0")])
  found = samples.of_row(tmp_path, {"step": 5, "train/success": 0.5, "eval/valid/success": None})
  assert [sample.task for sample in found["train"]] == [
    f"heat/{n}" for n in (0, 2, 5, 7, 10, 12, 15, 17)
  ]
  text = "--- turn 1\nA room. ok\n> ok\n--- turn 2\nA room. ok\n> ok"
  assert found["train"][0] == Sample("heat/0", "heat", "won", 0.5, 2, 0.25, text)
  assert found["valid"] == [Sample("cool/1", "cool", "aborted", 0.5, 0, None, "")]
  assert samples.of_row(tmp_path, {"step": 5, "eval/valid/success": 1.0}).keys() == {"valid"}
  assert samples.of_row(tmp_path, {"step": 7, "train/success": 1.0}) == {}


def test_a_sample_is_short_however_long_its_episode_is(tmp_path):
  write(tmp_path, 1, "train", [episode("heat/0", "x" * 600, turns=50)])
  (found,) = samples.of_row(tmp_path, {"step": 1, "train/success": 1.0})["train"]
  assert found.turns == 50 and len(text := found.text) < 12_000
  assert "--- turn 6\n" in text and "--- 38 turns left out\n--- turn 45\n" in text
  assert text.count("x [...]") == 24 and text.count("--- turn ") == 12


class Tags(HTMLParser):
  """The tags of a document, and the text in its cells."""

  def __init__(self, text):
    super().__init__()
    self.tags, self.cells = set(), []
    self.feed(text)

  def handle_starttag(self, tag, attributes):
    self.tags.add(tag)
    if tag in ("td", "th"):
      self.cells.append("")
    if tag == "br":
      self.cells[-1] += "\n"

  def handle_data(self, data):
    if self.cells and data.strip():
      self.cells[-1] += data


@pytest.mark.parametrize("preset", ["commonmark", "js-default"])
def test_no_text_of_an_episode_is_read_as_markdown_or_html(preset):
  sample = Sample(HOSTILE, HOSTILE, "won", -0.5, 3, None, HOSTILE)
  page = markdown_it.MarkdownIt(preset, {"html": True}).enable("table")
  shown = Tags(page.render(samples.markdown([sample, sample])))
  assert shown.tags == {"table", "thead", "tbody", "tr", "th", "td", "br"}
  assert shown.cells[: len(sample)] == list(Sample._fields)
  text = transcript.printable(HOSTILE)
  assert shown.cells[len(sample) :] == 2 * [text, text, "won", "-0.5", "3", "", text]
