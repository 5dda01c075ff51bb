"""Sampling turn by turn over a lasting cache is sampling from the full forward pass."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from empg_jax.distributed import sharding
from empg_jax.generation import policy as policies
from empg_jax.generation.policy import Policy
from empg_jax.generation.read import read
from empg_jax.generation.write import write
from empg_jax.models import folder
from empg_jax.models.decoder import Decoder, DecoderConfig

VOCAB, END, SLOTS = 50, 3, 3
GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "models"
CONFIG = DecoderConfig(VOCAB, 32, 48, 2, 4, 2, 8)
KEY = jax.random.key(5)


@pytest.fixture(scope="module")
def model():
  return make_model()


def make_model():
  model = Decoder(CONFIG, jax.random.key(0))
  # Sharper than initial weights would be, so that replies end at different lengths.
  model.model.embed_tokens.weight[...] *= 8
  return model


def make_policy(model, **changes):
  arguments = dict(
    slots=SLOTS, max_length=150, max_reply=10, end_id=END, piece_lengths=(12, 30),
    windows=(64, 128), devices=jax.local_devices()[:1],
  )  # fmt: skip
  return Policy(model, **(arguments | changes))


def converse(
  policy, turns, episodes=(0, 1, 2), key=KEY, seed=0, restart=None, vocab=VOCAB, longest=12, lag=0
):
  """Plays random pieces: each slot's ids, and (place, logprob, entropy) of the sampled ones.

  Slots beyond the third are idle. With a `lag` each slot waits up to three rounds for a piece,
  as long as that number draws.
  """
  slots, late = policy.start(0, key), np.random.default_rng(lag)
  rows, sampled = [[] for _ in range(SLOTS)], [[] for _ in range(SLOTS)]
  turn, due = [0] * SLOTS, dict.fromkeys(range(SLOTS), 0)
  while due or slots.run():
    for slot, ids, logprobs, entropy in slots.ended():
      start = len(rows[slot])
      sampled[slot] += [(start + j, logprobs[j], entropy[j]) for j in range(len(ids))]
      rows[slot] += ids.tolist()
      turn[slot] += 1
      if turn[slot] < turns:
        due[slot] = late.integers(4) if lag else 0
    for i in [i for i, rounds in due.items() if not rounds]:
      del due[i]
      if turn[i] == restart and i == 1:
        rows[i], sampled[i] = [], []
      number = turn[i] - (restart or 0) if i == 1 and turn[i] >= (restart or 99) else turn[i]
      rng = np.random.default_rng([seed, episodes[i], number])
      piece = rng.integers(4, vocab, rng.integers(1, longest)).tolist()
      rows[i] += piece
      slots.read(i, piece, episodes[i], number)
    due = {i: rounds - 1 for i, rounds in due.items()}
    if due:
      slots.run()
  return rows, sampled


def reply_to(policy, pieces, key=KEY):
  """The first reply to each piece, by slot."""
  slots, replies = policy.start(0, key), {}
  for slot, piece in enumerate(pieces):
    slots.read(slot, piece, slot, 0)
  while slots.run():
    replies |= {slot: ids.tolist() for slot, ids, *_ in slots.ended()}
  return [replies[slot] for slot in range(len(pieces))]


@jax.jit
def _all_logprobs(model, tokens):
  return jax.nn.log_softmax(model(tokens) @ model.unembedding)[0]


def full_logprobs(model, row):
  """Log-probabilities [T, V] of the full forward pass over a row."""
  return _all_logprobs(model, jnp.array([row + [0] * (160 - len(row))]))


def check_against_full_forward(model, rows, sampled, atol):
  for row, records in zip(rows, sampled):
    logprobs = full_logprobs(model, row)
    entropy = -jnp.sum(jnp.exp(logprobs) * logprobs, axis=-1)
    for place, logprob, h in records:
      np.testing.assert_allclose(logprobs[place - 1, row[place]], logprob, atol=atol)
      np.testing.assert_allclose(entropy[place - 1], h, atol=atol)


def test_every_turn_equals_the_full_forward_over_the_row(model):
  rows, sampled = converse(make_policy(model), turns=6)
  assert len({len(row) for row in rows}) > 1  # ragged
  check_against_full_forward(model, rows, sampled, atol=1e-4)


def test_a_bfloat16_cache_loses_no_more_than_its_rounding(model):
  rows, sampled = converse(make_policy(model, compute_dtype="bfloat16"), turns=6)
  differences = [
    full_logprobs(model, row)[place - 1, row[place]] - logprob
    for row, records in zip(rows, sampled)
    for place, logprob, _ in records
  ]
  assert len(differences) > 30
  assert np.mean(np.abs(differences)) < 0.05


@pytest.mark.parametrize("family", ["qwen2-untied", "qwen3", "llama2", "llama3"])
def test_every_turn_equals_the_full_forward_in_each_family(family):
  model = folder.load(GOLDEN / family, sharding.make_mesh())
  rows, sampled = converse(make_policy(model), turns=3, vocab=model.config.vocab_size)
  check_against_full_forward(model, rows, sampled, atol=1e-4)


def test_models_larger_than_their_tokenizers_sample_none_of_their_padding(model):
  rows, sampled = converse(make_policy(model, vocab_size=30), turns=2)
  check_against_full_forward(model, rows, sampled, atol=1e-4)  # as the update scores them
  others, drawn = converse(make_policy(model), turns=2)
  largest = lambda rows, sampled: max(
    row[place] for row, records in zip(rows, sampled) for place, _, _ in records
  )
  assert largest(rows, sampled) < 30 <= largest(others, drawn)


def test_a_slot_that_begins_anew_forgets_its_past(model):
  rows, sampled = converse(make_policy(model), turns=5, restart=2)
  check_against_full_forward(model, rows, sampled, atol=1e-4)


def test_group_members_differ_and_the_next_step_draws_afresh(model):
  policy = make_policy(model)

  def first_replies(key):
    return [tuple(ids) for ids in reply_to(policy, [[5, 6, 7]] * SLOTS, key)]

  step_1 = first_replies(jax.random.fold_in(KEY, 1))
  assert len(set(step_1)) == SLOTS
  assert step_1 == first_replies(jax.random.fold_in(KEY, 1))
  assert not set(step_1) & set(first_replies(jax.random.fold_in(KEY, 2)))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_sampled_does_not_depend_on_who_waits_for_whom(model, dtype):
  """Bit by bit: slots, and when their pieces come, differ from run to run."""
  policy = make_policy(model, compute_dtype=dtype, slots=11, max_length=400, windows=(16, 64))
  want = converse(policy, 7)
  for lag in range(1, 4):
    assert converse(policy, 7, lag=lag) == want
  rows, sampled = converse(policy, 7, episodes=(2, 0, 1), lag=5)
  assert [rows[1], rows[2], rows[0]] == want[0]
  assert [sampled[1], sampled[2], sampled[0]] == want[1]


@pytest.mark.parametrize("tokens", [1, 3, 10])
def test_how_many_tokens_are_written_at_a_time_changes_no_id(model, tokens):
  rows, sampled = converse(make_policy(model, tokens=tokens), 4)
  want, same = converse(make_policy(model), 4)
  assert rows == want
  for one, other in zip(sampled, same):
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_long_piece_is_read_in_parts_while_others_write(model):
  rows, sampled = converse(make_policy(model), turns=2, longest=62, seed=4)
  assert max(len(row) for row in rows) > 70  # with pieces of more than 30
  check_against_full_forward(model, rows, sampled, atol=1e-4)


def test_a_prompt_that_many_slots_read_is_computed_once(model, monkeypatch):
  """And their replies are those of slots that read it one after the other, bit by bit."""
  passes = []

  def counted(*given, **options):
    passes.append(int(given[6]))
    return read(*given, **options)

  monkeypatch.setattr(policies, "read", counted)
  policy = make_policy(model, slots=16)
  prompt = list(range(4, 44))  # in two parts

  def first_replies(together):
    slots, replies = policy.start(0, KEY), []
    for slot in range(16):
      slots.read(slot, prompt, slot, 0)
      if not together:
        slots.run()
        replies += slots.ended()
    while slots.run():
      replies += slots.ended()
    return {slot: [x.tolist() for x in reply] for slot, *reply in replies}

  shared = first_replies(together=True)
  assert passes == [1, 1]
  assert first_replies(together=False) == shared and sum(passes) > 16


def test_what_is_sampled_does_not_depend_on_the_slot(model):
  policy = make_policy(model)
  one, _ = converse(policy, 3, episodes=(0, 1, 2))
  other, _ = converse(policy, 3, episodes=(2, 0, 1))
  assert one == [other[1], other[2], other[0]]


def test_a_reply_ends_at_its_end_id_or_at_its_limit(model):
  policy, lengths = make_policy(model), []
  slots = policy.start(0, KEY)
  for t in range(8):
    slots.read(0, [7], 0, t)
    slots.read(2, [9], 2, t)
    ended = []
    while slots.run():
      ended += slots.ended()
    assert sorted(slot for slot, *_ in ended) == [0, 2]
    for _, ids, logprobs, entropy in ended:
      assert END not in ids[:-1] and (ids[-1] == END or len(ids) == policy.max_reply)
      assert len(ids) == len(logprobs) == len(entropy)
      lengths.append(len(ids))
  assert min(lengths) < policy.max_reply


def test_temperature_zero_takes_the_likeliest_and_another_reweights(model):
  greedy, _ = converse(make_policy(model, temperature=0.0), 2)
  again, _ = converse(make_policy(model, temperature=0.0), 2, key=jax.random.key(9))
  assert greedy == again
  rows, sampled = converse(make_policy(model, temperature=2.0), 2)
  logprobs = jax.nn.log_softmax(full_logprobs(model, rows[0]) / 2.0)
  for place, logprob, _ in sampled[0]:
    np.testing.assert_allclose(logprobs[place - 1, rows[0][place]], logprob, atol=1e-4)


def test_after_warm_up_nothing_is_compiled(model):
  policy = make_policy(model)
  converse(policy, 6)
  before = read._cache_size(), write._cache_size()
  policy.update(jax.tree.map(lambda x: 1.01 * x, model))
  converse(policy.at(0.5), 6, seed=1, lag=1)
  assert (read._cache_size(), write._cache_size()) == before


def test_usage_counts_tokens_and_steps_and_time(model):
  policy = make_policy(model, slots=8)
  _, sampled = converse(policy, 3, lag=1)
  usage = policy.take_usage()
  assert usage.tokens == sum(map(len, sampled))
  assert usage.slot_steps >= 8 * max(map(len, sampled)) and usage.slot_steps % 8 == 0
  assert min(usage.read_s, usage.write_s, usage.idle_s) > 0
  assert policy.take_usage().tokens == 0


def test_a_conversation_without_room_for_a_reply_is_refused(model):
  tight = make_policy(model, max_length=30)
  with pytest.raises(ValueError, match="leaves no room for a reply of 10"):
    tight.start(0, KEY).read(0, [5] * 25, 0, 0)
