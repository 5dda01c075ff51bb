"""From text to batch with the real policy: what is trained on is what was sampled."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from empg_jax import algorithms, chat as chats, workers
from empg_jax.distributed import sharding
from empg_jax.envs.alfworld import AlfWorld, tasks
from empg_jax.generation.policy import Policy
from empg_jax.models import folder
from empg_jax.rollout.actor import collect
from empg_jax.rollout.pack import deal, pack
from empg_jax.training import state as states
from empg_jax.training.score import token_stats
from empg_jax.training.step import train_step

pytestmark = pytest.mark.slow
GROUP, KEY = 4, jax.random.key(3)


@pytest.fixture(scope="module")
def model():
  return folder.load("alfworld-tiny", sharding.make_mesh())


@pytest.fixture(scope="module")
def chat():
  return chats.load(folder.locate("alfworld-tiny"))


def play(model, chat, slots=3, temperature=1.0, make_env=AlfWorld):
  policy = Policy(
    model, slots=slots, max_length=512, max_reply=24, end_id=chat.end_id,
    piece_lengths=(48,), windows=(512,), temperature=temperature,
    devices=jax.local_devices()[:1],
  )  # fmt: skip
  games = tasks("train", games="small")[:2]
  return collect(policy, chat, make_env, games, group_size=GROUP, max_turns=6, key=KEY)


@pytest.fixture(scope="module")
def episodes(model, chat):
  return play(model, chat)


def test_group_members_play_the_same_game_differently(model, chat):
  # Hot, so that two equal transcripts cannot be chance: at temperature 1 the warm start
  # is so sure of some openings that whole groups agree.
  episodes = play(model, chat, temperature=3.0)
  for group in (0, 1):
    members = [e for e in episodes if e.group == group]
    assert len(members) == GROUP and len({e.task for e in members}) == 1
    assert len({tuple(t.text for t in e.turns) for e in members}) == GROUP


def test_the_batch_holds_the_sampled_ids_and_nothing_else_is_trained_on(episodes):
  batch = pack(episodes, lengths=(512,))
  for row, episode in enumerate(episodes):
    sampled = np.concatenate([turn.reply for turn in episode.turns])
    np.testing.assert_array_equal(batch.actions[row][batch.steps[row] > 0], sampled)
    turns = np.concatenate([[i] * len(t.reply) for i, t in enumerate(episode.turns, 1)])
    np.testing.assert_array_equal(batch.steps[row][batch.steps[row] > 0], turns)


def test_the_training_pass_sees_the_probabilities_that_were_sampled_from(model, episodes):
  batch = jax.tree.map(jnp.asarray, pack(episodes, lengths=(512,)))
  stats = token_stats(model, batch, temperature=1.0, compute_dtype="float32", remat=False)
  agent = np.asarray(batch.steps) > 0
  np.testing.assert_allclose(stats.logprobs[agent], batch.behavior_logprobs[agent], atol=1e-4)
  np.testing.assert_allclose(stats.entropy[agent], batch.behavior_entropy[agent], atol=1e-4)


def test_the_number_of_slots_changes_no_episode(model, chat, episodes):
  texts = lambda played: [[turn.text for turn in e.turns] for e in played]
  assert texts(play(model, chat, slots=8)) == texts(episodes)


def test_the_order_of_the_answers_changes_no_bit(model, chat, episodes):
  """In workers that take a random time; tests/rollout is on their path."""
  with workers.environments("dawdling", {}, count=3) as make_env:
    played = play(model, chat, make_env=make_env)
  assert len(played) == len(episodes)
  for one, other in zip(played, episodes):
    assert (one.ended, one.reward, len(one.turns)) == (other.ended, other.reward, len(other.turns))
    for turn, same in zip(one.turns, other.turns):
      for name in ("reply", "logprobs", "entropy"):
        np.testing.assert_array_equal(getattr(turn, name), getattr(same, name))


def test_an_update_makes_the_better_episodes_likelier(model, episodes):
  won = [dataclasses.replace(e, reward=float(e.index < GROUP // 2)) for e in episodes]
  batch = jax.tree.map(jnp.asarray, pack(deal(won, 2), lengths=(512,)))
  optimizer = states.make_optimizer(learning_rate=1e-3)
  state = states.create(jax.tree.map(jnp.copy, model), optimizer)
  state, _ = train_step(
    state,
    batch,
    algorithm=algorithms.make("empg", base={"name": "grpo"}),
    optimizer=optimizer,
    size=2,
    lengths=(256,),
  )
  before, after = (
    token_stats(m, batch, temperature=1.0, compute_dtype="float32", remat=False).logprobs
    for m in (model, state.model)
  )
  gain = jnp.sum(jnp.where(batch.steps > 0, after - before, 0), axis=1)
  assert gain[batch.returns == 1].mean() > gain[batch.returns == 0].mean()


def test_dealing_puts_rows_of_like_length_into_one_microbatch(episodes):
  length = lambda e: sum(len(t.context) + len(t.reply) for t in e.turns)
  dealt = deal(episodes, 2)
  assert sorted(map(id, dealt)) == sorted(map(id, episodes))
  count = len(episodes) // 2
  pairs = [(length(dealt[m]), length(dealt[m + count])) for m in range(count)]
  flat = [x for pair in pairs for x in pair]
  assert flat == sorted(flat)
