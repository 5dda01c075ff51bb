"""Demonstrations as padded rows for behaviour cloning."""

from collections.abc import Iterator, Sequence
import random
from typing import NamedTuple

from jaxtyping import Array, Float, Int
import numpy as np

from empg_jax.chat import Chat
from empg_jax.envs import Demonstration


class Rows(NamedTuple):
  """Transcripts as padded arrays: numpy on the host, jax on the device."""

  tokens: Int[Array | np.ndarray, "B T"]
  actions: Int[Array | np.ndarray, "B T"]  # the token that follows each
  weights: Float[Array | np.ndarray, "B T"]  # 1 in a demonstrated reply, less elsewhere


def transcript(
  chat: Chat, demo: Demonstration, observation_weight: float
) -> tuple[list[int], list[float]]:
  """The ids of an episode as the policy would see it, and the weight of each.

  Observations weigh `observation_weight`: predicting them teaches a small model sooner to look
  names up. Replies that were not the expert's weigh 0.
  """
  ids, weights = [], []
  for turn in demo.turns:
    observation = turn.observation
    piece = chat.following(observation, ended=True) if ids else chat.opening(observation)
    reply = chat.reply(turn.thought, turn.action)
    ids += piece + reply
    weights += [observation_weight] * len(piece) + [float(turn.trained)] * len(reply)
  return ids, weights


def batches(
  sources: Sequence[Sequence[Demonstration]],
  chat: Chat,
  *,
  lengths: Sequence[int],
  tokens: int,
  microbatch: int,
  observation_weight: float,
  seed: int,
) -> Iterator[Rows]:
  """Yields batches of about `tokens` tokens without end, rows of similar length together.

  Args:
    sources: datasets; an epoch goes once through all of them, shuffled together.
    chat: the tokenizer and its template.
    lengths: row lengths; an episode takes the shortest that holds it, and is left out
      if none does. From lost and won episodes alike only the expert's own replies are trained.
    tokens: of a batch, padding included; its rows are a multiple of `microbatch`.
    observation_weight: see `transcript`.
    seed: determines the order.
  """
  rng = random.Random(seed)
  waiting = {length: [] for length in sorted(lengths)}
  places = [(s, i) for s, source in enumerate(sources) for i in range(len(source))]
  while True:
    rng.shuffle(places)
    for s, i in places:
      ids, weights = transcript(chat, sources[s][i], observation_weight)
      length = next((n for n in waiting if n >= len(ids) - 1), None)
      if length is None:
        continue
      rows = waiting[length]
      rows.append((ids, weights))
      if len(rows) * length >= tokens and len(rows) % microbatch == 0:
        yield _pad(rows, length)
        rows.clear()


def _pad(rows: Sequence[tuple[list[int], list[float]]], length: int) -> Rows:
  batch = Rows(
    np.zeros((len(rows), length), np.int32),
    np.zeros((len(rows), length), np.int32),
    np.zeros((len(rows), length), np.float32),
  )
  for row, (ids, weights) in enumerate(rows):
    end = len(ids) - 1
    batch.tokens[row, :end] = ids[:-1]
    batch.actions[row, :end] = ids[1:]
    batch.weights[row, :end] = weights[1:]
  return batch
