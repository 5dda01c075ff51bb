"""The top of the page: success over the steps of a run, by task type, and by turn."""

from collections.abc import Callable, Sequence
import html
import itertools
from typing import NamedTuple

from empg_jax.tracking.episode_files import EpisodeSet

_TURNS = 5  # rows of the table of turns, at most


class Count(NamedTuple):
  """How many episodes were played, and how many won; aborted ones count in neither."""

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
  won_after: tuple[int, ...]
  """The number of turns of each episode that was won."""

  def within(self, turns: int) -> Count:
    """Those that were won in at most so many turns, of all."""
    return Count(sum(x <= turns for x in self.won_after), self.all.played)


def tally(played: EpisodeSet) -> Tally:
  """Counts a set, by task type and by turn too."""
  counted = [episode for episode in played.episodes if episode["ended"] != "aborted"]
  count = lambda episodes: Count(sum(bool(e["success"]) for e in episodes), len(episodes))
  types = {
    kind: count([episode for episode in counted if episode["type"] == kind])
    for kind in sorted({episode["type"] for episode in counted})
  }
  won_after = tuple(len(episode["turns"]) for episode in counted if episode["success"])
  return Tally(played.step, played.split, count(counted), types, won_after)


def name(step: int, split: str) -> str:
  """The name of a set of episodes in the page's addresses."""
  return f"step_{step:06}.{split}"


def tables(tallies: Sequence[Tally]) -> str:
  """Three tables as HTML; nothing for fewer than two sets."""
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
    [
      html.escape(kind.replace("_", " ")),
      *(_change(sets[split], lambda t: t.types.get(kind)) for split in splits),
    ]
    for kind in kinds
  ]
  by_turn = [
    [f"≤ {turns}", *(_change(sets[split], lambda t: t.within(turns)) for split in splits)]
    for turns in _thresholds(max((x for t in tallies for x in t.won_after), default=0))
  ]
  shown = [
    _table("Success after each step", ["step", *splits], over_steps),
    _table("Success by type, first → last", ["type", *splits], by_type),
    _table("Won within so many turns, first → last", ["turns", *splits], by_turn),
  ]
  return f'<div id="summary">{"".join(shown)}</div>'


def _link(found: Tally | None) -> str:
  if found is None:
    return ""
  place = html.escape(name(found.step, found.split))
  return f'<a href="#{place}" title="{found.all.words}">{found.all.share}</a>'


def _thresholds(longest: int) -> list[int]:
  """At most _TURNS round numbers of turns, the last of them `longest` or above."""
  steps = (factor * 10**power for power in itertools.count() for factor in (1, 2, 5))
  step = next(step for step in steps if step * _TURNS >= longest)
  return list(range(step, longest + step, step))


def _change(sets: Sequence[Tally], count: Callable[[Tally], Count | None]) -> str:
  """Success in the first set that has such a count, and in the last."""
  found = [c for t in sorted(sets, key=lambda t: t.step) if (c := count(t))]
  if not found:
    return ""
  ends = found if len(found) < 2 else [found[0], found[-1]]
  words = " → ".join(count.words for count in ends)
  return f'<span title="{words}">{" → ".join(count.share for count in ends)}</span>'


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  """A table that unfolds and folds the others; nothing without rows."""
  if not rows:
    return ""
  head = "".join(f'<th scope="col">{html.escape(x)}</th>' for x in heads)
  body = "".join(
    f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    for first, *cells in rows
  )
  return (
    f'<details name="summary"><summary>{title}</summary><div>'
    f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></details>"
  )
