"""Ragged episodes to one padded batch: the only place where anything is padded."""

from collections.abc import Sequence

import numpy as np

from empg_jax.types import Batch, Episode


def pack(
    episodes: Sequence[Episode],
    *,
    lengths: Sequence[int],
    multiple: int = 1,
    pad_id: int = 0,
) -> Batch:
  """Lays each episode's transcript into one row, in the order given.

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
    A numpy Batch, [B, T] int32 and float32; episode_ids is the row's number.

  Raises:
    ValueError: there is no episode to train on, or one is longer than every length.
  """
  played = [episode for episode in episodes if episode.ended != "aborted" and episode.turns]
  if not played:
    raise ValueError(
        f"None of the {len(episodes)} episodes can be trained on: pack() needs at least "
        "one that has a turn and was not aborted."
    )
  T = _bucket(played, lengths)
  B = -(-len(episodes) // multiple) * multiple
  ids = np.full((B, T + 1), pad_id, np.int32)
  steps = np.zeros((B, T + 1), np.int32)
  logprobs = np.zeros((B, T + 1), np.float32)
  entropy = np.zeros((B, T + 1), np.float32)
  returns = np.zeros(B, np.float32)
  group_ids = np.full(B, 1 + max(episode.group for episode in episodes), np.int32)
  for row, episode in enumerate(episodes):
    if episode.ended == "aborted":
      continue
    returns[row], group_ids[row] = episode.reward, episode.group
    _lay_out(episode, ids[row], steps[row], logprobs[row], entropy[row])
  return Batch(
      tokens=ids[:, :-1],
      actions=ids[:, 1:],
      steps=steps[:, 1:],
      behavior_logprobs=logprobs[:, 1:],
      behavior_entropy=entropy[:, 1:],
      returns=returns,
      group_ids=group_ids,
      episode_ids=np.arange(B, dtype=np.int32),
  )


def deal(episodes: Sequence[Episode], size: int) -> list[Episode]:
  """The episodes in an order in which microbatches of `size` hold rows of like length.

  training.microbatch takes rows m, m + n, m + 2n, ... for microbatch m of n.
  """
  ordered = sorted(episodes, key=_length)
  return [episode for first in range(size) for episode in ordered[first::size]]


def _length(episode: Episode) -> int:
  return sum(len(turn.context) + len(turn.reply) for turn in episode.turns)


def _lay_out(
    episode: Episode,
    ids: np.ndarray,
    steps: np.ndarray,
    logprobs: np.ndarray,
    entropy: np.ndarray,
) -> None:
  """Writes one episode into its row of each array, in place."""
  start = 0
  for step, turn in enumerate(episode.turns, 1):
    reply = start + len(turn.context)
    end = reply + len(turn.reply)
    ids[start:reply], ids[reply:end] = turn.context, turn.reply
    steps[reply:end] = step
    logprobs[reply:end] = turn.logprobs
    entropy[reply:end] = turn.entropy
    start = end


def _bucket(episodes: Sequence[Episode], lengths: Sequence[int]) -> int:
  """The shortest row length that holds every episode."""
  longest = max(
      _length(episode) - 1 for episode in episodes
  )
  fitting = [length for length in lengths if length >= longest]
  if not fitting:
    raise ValueError(
        f"An episode needs a row of {longest} tokens and the longest row is {max(lengths)}: "
        f"add a length of at least {longest} to `lengths`, or lower the policy's max_length."
    )
  return min(fitting)
