"""Sampling turn by turn over a lasting cache is sampling from the full forward pass."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from empg_jax.distributed import sharding
from empg_jax.generation import cache as caching, decode, layout
from empg_jax.generation.policy import Policy
from empg_jax.kernels import hardware
from empg_jax.models import folder
from empg_jax.models.decoder import Decoder, DecoderConfig

VOCAB, END, SLOTS = 50, 3, 3
GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "models"
CONFIG = DecoderConfig(VOCAB, 32, 48, 2, 4, 2, 8)
KEY = jax.random.key(5)


@pytest.fixture(scope="module")
def model():
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


def converse(policy, turns, episodes=(0, 1, 2), key=KEY, seed=0, restart=None, vocab=VOCAB):
  """Plays random pieces: each slot's ids, and (place, logprob, entropy) of the sampled ones.

  Slots beyond the third are idle.
  """
  slots = policy.start()
  idle = [0] * (policy.slots - SLOTS)
  rows, sampled = [[] for _ in range(SLOTS)], [[] for _ in range(SLOTS)]
  turn = [0] * SLOTS
  for t in range(turns):
    if t == restart:
      rows[1], sampled[1], turn[1] = [], [], 0
    pieces = []
    for i in range(SLOTS):
      rng = np.random.default_rng([seed, episodes[i], turn[i]])
      pieces.append(rng.integers(4, vocab, rng.integers(1, 12)).tolist())
    slots, reply = policy.act(
      slots, [*pieces, *(None for _ in idle)], [*episodes, *idle], [*turn, *idle], key
    )
    host = reply.fetch()
    for i in range(SLOTS):
      rows[i] += pieces[i]
      n = host.lengths[i]
      start = len(rows[i])
      sampled[i] += [(start + j, host.logprobs[i, j], host.entropy[i, j]) for j in range(n)]
      rows[i] += host.ids[i, :n].tolist()
    turn = [t + 1 for t in turn]
  return rows, sampled


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
    slots = policy.start()
    _, reply = policy.act(slots, [[5, 6, 7]] * SLOTS, [0, 1, 2], [0] * SLOTS, key)
    return [tuple(ids) for ids in reply.fetch().ids]

  step_1 = first_replies(jax.random.fold_in(KEY, 1))
  assert len(set(step_1)) == SLOTS
  assert step_1 == first_replies(jax.random.fold_in(KEY, 1))
  assert not set(step_1) & set(first_replies(jax.random.fold_in(KEY, 2)))


def test_what_is_sampled_does_not_depend_on_the_slot(model):
  policy = make_policy(model)
  one, _ = converse(policy, 3, episodes=(0, 1, 2))
  other, _ = converse(policy, 3, episodes=(2, 0, 1))
  assert one == [other[1], other[2], other[0]]


def test_an_idle_slot_samples_nothing_and_a_reply_ends_at_its_end_id(model):
  policy = make_policy(model)
  slots, lengths = policy.start(), []
  for t in range(8):
    slots, reply = policy.act(slots, [[7], None, [9]], [0, 1, 2], [t, 0, t], KEY)
    host = reply.fetch()
    assert host.lengths[1] == 0 and not host.ids[1].any()
    for i in (0, 2):
      ids = host.ids[i, : host.lengths[i]]
      assert END not in ids[:-1] and (ids[-1] == END or len(ids) == policy.max_reply)
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
  before = decode.turn._cache_size()
  policy.update(jax.tree.map(lambda x: 1.01 * x, model))
  converse(policy.at(0.5), 6, seed=1)
  assert decode.turn._cache_size() == before


def test_two_groups_of_slots_on_two_devices_sample_as_one_device_does(model):
  two = make_policy(model, devices=jax.local_devices()[:2])
  on_first, on_second = converse(two, 3), converse(two, 3)
  assert on_first[0] == on_second[0]


def test_scanned_layers_on_a_mesh_sample_as_one_device_does(model, monkeypatch):
  want = converse(make_policy(model, slots=8), 3, (0, 1, 2))
  mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
  monkeypatch.setattr(hardware, "current", lambda: hardware.TPU)
  placed = sharding.place(model, mesh)
  policy = make_policy(placed, mesh=mesh, slots=8)
  got = converse(policy, 3, (0, 1, 2))
  assert got[0] == want[0]
  for one, other in zip(got[1], want[1]):
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_layers_apart_on_a_mesh_sample_as_one_device_does(model, monkeypatch):
  """As on GPUs: each layer's parameters and cache are arrays of their own."""
  want = converse(make_policy(model, slots=8), 3, (0, 1, 2))
  mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
  layout_of_gpus = hardware.GPU._replace(attention="blocks")
  monkeypatch.setattr(hardware, "current", lambda: layout_of_gpus)
  monkeypatch.setattr(hardware, "of", lambda name: layout_of_gpus)
  got = converse(make_policy(sharding.place(model, mesh), mesh=mesh, slots=8), 3, (0, 1, 2))
  assert got[0] == want[0]
  for one, other in zip(got[1], want[1]):
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_decoding_divides_parameters_by_tensor_alone_and_the_cache_by_slots_and_heads(model):
  mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
  placed = sharding.place(model, mesh)
  program = layout.for_decoding(mesh, placed, jnp.dtype("bfloat16"))
  weight = program(placed).model.layers.mlp.up_proj.weight[...]
  assert weight.dtype == jnp.bfloat16
  assert weight.sharding.shard_shape(weight.shape) == (2, 24, 32)
  cache = jnp.zeros((CONFIG.num_hidden_layers, 4, CONFIG.num_key_value_heads, 5, 8))
  places = layout.cache_shardings(caching.Cache((cache, cache), (cache, cache)), mesh)
  assert places.past[0].shard_shape(cache.shape) == (2, 1, 1, 5, 8)
  with pytest.raises(ValueError, match="policy.slots is 3, which does not divide over 4"):
    make_policy(placed, mesh=mesh)


def test_too_long_a_piece_and_too_full_a_conversation_are_reported(model):
  policy = make_policy(model)
  with pytest.raises(ValueError, match="31 tokens, but the largest piece length is 30"):
    policy.act(policy.start(), [[5] * 31, None, None], [0] * 3, [0] * 3, KEY)
  tight = make_policy(model, max_length=30)
  with pytest.raises(ValueError, match="leaves no room for a reply of 10"):
    tight.act(tight.start(), [[5] * 25, None, None], [0] * 3, [0] * 3, KEY)
