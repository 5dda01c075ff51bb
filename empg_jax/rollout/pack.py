"""Ragged episodes to one padded batch: the only place where anything is padded."""

from collections.abc import Sequence
import dataclasses

import numpy as np

from empg_jax.types import Batch, Episode

_OF_TOKENS = {  # what a row holds for each of its ids
  "ids": np.int32,
  "steps": np.int32,
  "behavior_logprobs": np.float32,
  "behavior_entropy": np.float32,
  "rewards": np.float32,
  "anchors": np.int32,
}

_FILLER = Episode("", 0, 0, (), 0.0, False, "aborted", {})


def pack(
  episodes: Sequence[Episode],
  *,
  lengths: Sequence[int],
  multiple: int = 1,
  pad_id: int = 0,
) -> Batch:
  """Lays each episode's transcript, or each of its turns (`by_turn`), into one row.

  With x the episode's ids (context and reply of turn 1, of turn 2, ...), a row holds
  tokens = x[:-1] and actions = x[1:]: actions[b, t] was drawn after tokens[b, t], and
  steps[b, t] is the turn (1, 2, ...) that sampled it, or 0 if nobody sampled it.

  Aborted episodes become filler rows in their place, and more are added at the end
  until the rows are a multiple of `multiple`, so that the shape does not depend on
  what happened. A filler row has steps 0 throughout and a group that is nobody's.

  Args:
    episodes: played ones, as collect() returns them.
    lengths: the allowed row lengths; the shortest that holds every episode is taken.
    multiple: what the number of rows must divide by (devices, microbatches).
    pad_id: the id that fills the rest of tokens and actions.

  Returns:
    A numpy Batch, [B, T] int32 and float32.

  Raises:
    ValueError: there is no episode to train on, or one is longer than every length.
  """
  played = [episode for episode in episodes if episode.ended != "aborted" and episode.turns]
  if not played:
    raise ValueError(
      f"No episode of {len(episodes)} can be trained on: pack() needs at least one"
      " that has a turn and was not aborted."
    )
  T = _bucket(played, lengths)
  B = -(-len(episodes) // multiple) * multiple
  rows = {name: np.zeros((B, T + 1), dtype) for name, dtype in _OF_TOKENS.items()}
  rows["ids"] += pad_id
  returns = np.zeros(B, np.float32)
  group_ids = np.full(B, 1 + max(episode.group for episode in episodes), np.int32)
  anchors: dict[tuple[int, str], int] = {}
  for row, episode in enumerate(episodes):
    if episode.ended == "aborted":
      continue
    returns[row], group_ids[row] = episode.reward, episode.group
    _lay_out(episode, {name: x[row] for name, x in rows.items()}, anchors)
  ids = rows.pop("ids")
  return Batch(
    tokens=ids[:, :-1],
    actions=ids[:, 1:],
    returns=returns,
    group_ids=group_ids,
    episode_ids=_episode_ids(episodes, B),
    **{name: x[:, 1:] for name, x in rows.items()},
  )


def by_turn(episodes: Sequence[Episode]) -> list[Episode]:
  """Each turn as an episode of its own, for rows of one turn; what it is part of stays known.

  For episodes whose turns were read as conversations of their own (collect's `prompt`).
  """
  return [
    dataclasses.replace(episode, turns=(turn,), first_step=step)
    for episode in episodes
    if episode.ended != "aborted"
    for step, turn in enumerate(episode.turns, 1)
  ]


def count_rows(parts: int, multiple: int) -> int:
  """Rows for so many parts: `multiple`, or twice, four times, ... as many: few shapes compile."""
  while multiple < parts:
    multiple *= 2
  return multiple


def deal(episodes: Sequence[Episode], size: int, rows: int = 0) -> list[Episode]:
  """The episodes in an order in which microbatches of `size` hold rows of like length.

  training.microbatch takes rows m, m + n, m + 2n, ... for microbatch m of n. Where there
  are fewer episodes than `rows`, filler that is as short as can be makes up for them.
  """
  ordered = [_FILLER] * (rows - len(episodes)) + sorted(episodes, key=_length)
  return [episode for first in range(size) for episode in ordered[first::size]]


def _length(episode: Episode) -> int:
  return sum(len(turn.context) + len(turn.reply) for turn in episode.turns)


def _lay_out(
  episode: Episode, row: dict[str, np.ndarray], anchors: dict[tuple[int, str], int]
) -> None:
  """Writes one episode into its row of each array, and numbers what it was shown, in place."""
  start = 0
  for step, turn in enumerate(episode.turns, episode.first_step):
    reply = start + len(turn.context)
    end = reply + len(turn.reply)
    row["ids"][start:reply], row["ids"][reply:end] = turn.context, turn.reply
    row["steps"][reply:end] = step
    row["behavior_logprobs"][reply:end] = turn.logprobs
    row["behavior_entropy"][reply:end] = turn.entropy
    row["rewards"][reply:end] = turn.reward
    shown = episode.group, turn.observation
    row["anchors"][reply:end] = anchors.setdefault(shown, len(anchors) + 1)
    start = end


def _episode_ids(episodes: Sequence[Episode], rows: int) -> np.ndarray:
  """The row's number, or that of the first row of the same episode where turns have rows."""
  first: dict[tuple[int, int], int] = {}
  ids = np.arange(rows, dtype=np.int32)
  for row, episode in enumerate(episodes):
    if episode.ended != "aborted":
      ids[row] = first.setdefault((episode.group, episode.index), row)
  return ids


def _bucket(episodes: Sequence[Episode], lengths: Sequence[int]) -> int:
  """The shortest row length that holds every episode."""
  longest = max(_length(episode) - 1 for episode in episodes)
  fitting = [length for length in lengths if length >= longest]
  if not fitting:
    raise ValueError(
      f"An episode needs a row of {longest} tokens and the longest row is {max(lengths)}: "
      f"add a length of at least {longest} to `lengths`, or lower the policy's max_length."
    )
  return min(fitting)
