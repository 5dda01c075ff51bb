"""Demonstrations become rows whose weights say what is cloned."""

import itertools

import numpy as np
import pytest
import sentencepiece

from empg_jax.chat.sentencepiece_chat import SentencePieceChat
from empg_jax.data import cloning, vocabulary
from empg_jax.envs.alfworld import PHRASES, demonstrations


@pytest.fixture(scope="module")
def demos():
  return list(itertools.islice(demonstrations(0, "small", noise=0.3), 12))


@pytest.fixture(scope="module")
def chat(demos):
  texts = [turn.observation for demo in demos for turn in demo.turns]
  model = vocabulary.train(texts, 500, PHRASES)
  return SentencePieceChat(sentencepiece.SentencePieceProcessor(model_proto=model))


def test_only_the_experts_own_replies_count_in_full(chat, demos):
  demo = next(d for d in demos if not all(turn.trained for turn in d.turns))
  ids, weights = cloning.transcript(chat, demo, 0.25)
  start = 0
  for turn in demo.turns:
    piece, reply = chat.opening(turn.observation), chat.reply(turn.thought, turn.action)
    middle, end = start + len(piece), start + len(piece) + len(reply)
    assert ids[start:middle] == piece and set(weights[start:middle]) == {0.25}
    assert ids[middle:end] == reply and set(weights[middle:end]) == {float(turn.trained)}
    start = end
  assert start == len(ids)


def test_a_batch_holds_whole_shifted_transcripts(chat, demos):
  batches = cloning.batches(
    [demos], chat, lengths=(512, 1024), tokens=2048, microbatch=2, observation_weight=0.25,
    seed=0,
  )  # fmt: skip
  known = {tuple(cloning.transcript(chat, demo, 0.25)[0]) for demo in demos}
  for rows in itertools.islice(batches, 3):
    assert rows.tokens.shape[0] % 2 == 0 and rows.tokens.size >= 2048
    for tokens, actions in zip(rows.tokens, rows.actions):
      length = np.flatnonzero(actions)[-1] + 1
      np.testing.assert_array_equal(tokens[1:length], actions[: length - 1])
      assert (tokens[0], *actions[:length]) in known


def test_the_order_is_that_of_the_seed(chat, demos):
  def first(seed):
    return next(cloning.batches([demos], chat, lengths=(1024,), tokens=4096, microbatch=1,
                                observation_weight=0.0, seed=seed)).tokens  # fmt: skip

  np.testing.assert_array_equal(first(1), first(1))
  assert not np.array_equal(first(1), first(2))
