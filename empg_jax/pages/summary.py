"""The top of the page: success over the steps of a run, and by task type."""

from collections.abc import Sequence
import html
from typing import NamedTuple

from empg_jax.tracking.episode_files import EpisodeSet


class Count(NamedTuple):
  """How many episodes were played, and won; aborted ones count in neither."""

  won: int
  played: int

  @property
  def share(self) -> str:
    return f"{self.won / self.played:.0%}" if self.played else "–"

  @property
  def words(self) -> str:
    return f"{self.won} of {self.played} won"


class Tally(NamedTuple):
  """The counts of a set of episodes."""

  step: int
  split: str
  all: Count
  types: dict[str, Count]


def tally(played: EpisodeSet) -> Tally:
  """Counts a set, by task type too."""
  counted = [episode for episode in played.episodes if episode["ended"] != "aborted"]
  count = lambda episodes: Count(sum(bool(e["success"]) for e in episodes), len(episodes))
  types = {
    kind: count([episode for episode in counted if episode["type"] == kind])
    for kind in sorted({episode["type"] for episode in counted})
  }
  return Tally(played.step, played.split, count(counted), types)


def name(step: int, split: str) -> str:
  """What the page calls a set of episodes."""
  return f"step_{step:06}.{split}"


def tables(tallies: Sequence[Tally]) -> str:
  """Two tables as HTML; nothing for fewer than two sets."""
  if len(tallies) < 2:
    return ""
  splits = sorted({t.split for t in tallies}, key=lambda split: (split != "train", split))
  by_place = {(t.step, t.split): t for t in tallies}
  steps = sorted({t.step for t in tallies})
  over_steps = [
    [str(step), *(_link(by_place.get((step, split))) for split in splits)] for step in steps
  ]
  sets = {split: [t for t in tallies if t.split == split] for split in splits}
  kinds = sorted({kind for t in tallies for kind in t.types})
  by_type = [
    [html.escape(kind.replace("_", " ")), *(_change(sets[split], kind) for split in splits)]
    for kind in kinds
  ]
  return (
    '<details id="summary" open><summary>Success</summary>'
    f"{_table('after step', splits, over_steps)}"
    f"{_table('by type, first → last', splits, by_type)}</details>"
  )


def _link(found: Tally | None) -> str:
  if found is None:
    return ""
  place = html.escape(name(found.step, found.split))
  return f'<a href="#{place}" title="{found.all.words}">{found.all.share}</a>'


def _change(sets: Sequence[Tally], kind: str) -> str:
  """A type's success in the first set that has it, and in the last."""
  found = [t.types[kind] for t in sorted(sets) if kind in t.types]
  if not found:
    return ""
  ends = found if len(found) < 2 else [found[0], found[-1]]
  words = " → ".join(count.words for count in ends)
  return f'<span title="{words}">{" → ".join(count.share for count in ends)}</span>'


def _table(corner: str, splits: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  heads = "".join(f'<th scope="col">{html.escape(x)}</th>' for x in [corner, *splits])
  body = "".join(
    f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    for first, *cells in rows
  )
  return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
