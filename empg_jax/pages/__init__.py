"""A page to read episodes on: one HTML file that opens from disk and requests nothing.

`render` fills the template assets/page.html with the style, the scripts, and the episodes as JSON.
The scripts insert episodes as text, never as HTML; a Content-Security-Policy allows no other
script.
"""

import base64
from collections.abc import Iterable, Iterator, Sequence
import hashlib
import html
import importlib.resources
import string

from empg_jax.io import json_text, paths
from empg_jax.pages import compact, summary
from empg_jax.tracking import episode_files
from empg_jax.tracking.episode_files import EpisodeSet

_ASSETS = importlib.resources.files(__name__) / "assets"
_SCRIPTS = ("sets.js", "marks.js", "list.js", "episode.js", "main.js")  # in the order of reading


def write(
  sources: Iterable[paths.Path], title: str, out: paths.Path, notes: Sequence[str] = ()
) -> int:
  """Writes the page of these files of episodes to `out`; returns how many episodes it shows.

  The page shows the notes below its title.

  Raises:
    ValueError, FileNotFoundError: as episode_files.read does.
  """
  count = 0

  def sets() -> Iterator[EpisodeSet]:
    nonlocal count
    for path in sources:
      played = episode_files.read(path)
      count += len(played.episodes)
      yield played

  page = render(sets(), title, notes)
  paths.make_folder(out.parent)
  paths.write(out, page.encode(errors="replace"), whole=False)
  return count


def render(sets: Iterable[EpisodeSet], title: str, notes: Sequence[str] = ()) -> str:
  """The page as HTML. It shows one set at a time, and parses a set when it is chosen."""
  style = _asset("page.css")
  script = "(() => {\n" + "\n".join(map(_asset, _SCRIPTS)) + "})();"
  elements, tallies = [], []
  for played in sets:
    elements.append(_element(played))
    tallies.append(summary.tally(played))
  return string.Template(_asset("page.html")).substitute(
    title=html.escape(title),
    notes="".join(f"<li>{html.escape(note)}</li>" for note in notes),
    style=style,
    script=script,
    style_hash=_digest(style),
    script_hash=_digest(script),
    summary=summary.tables(tallies),
    sets="\n".join(elements),
  )


def _element(played: EpisodeSet) -> str:
  """A set as JSON in a script element. "<" is escaped, so no text can end the element."""
  data = json_text.dumps(compact.columns(played), ensure_ascii=False, separators=(",", ":"))
  data = data.replace("<", "\\u003c")
  name = html.escape(summary.name(played.step, played.split))
  label = html.escape(f"step {played.step}, {played.split} ({len(played.episodes)})")
  return (
    f'<script type="application/json" class="set" data-name="{name}" data-label="{label}">'
    f"{data}</script>"
  )


def _asset(name: str) -> str:
  return (_ASSETS / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
  """The hash by which a Content-Security-Policy allows a script or a style."""
  return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
