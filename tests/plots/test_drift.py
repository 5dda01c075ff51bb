"""KL to the initial policy, measured on the episodes that a run wrote down."""

import functools

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from empg_jax import chat as chats
from empg_jax.config import config as configs
from empg_jax.distributed import sharding
from empg_jax.envs import alfworld
from empg_jax.evaluation import policies
from empg_jax.models import folder
from empg_jax.plots import drift
from empg_jax.rollout.pack import by_turn, pack
from empg_jax.tracking import episode_files
from empg_jax.types import Batch


@pytest.fixture(scope="module")
def initial():
  return folder.load("alfworld-tiny", sharding.make_mesh())


@pytest.fixture(scope="module", params=[-1, 2], ids=["transcripts", "turns"])
def run(request, initial):
  """A config, its chat, and what the initial policy plays with them."""
  config = configs.load("configs/alfworld.py")
  config.rollout.update(max_turns=6, window=request.param)
  config.policy.update(piece_lengths=(48, 256))
  chat = chats.load(folder.locate("alfworld-tiny"), **config.chat)
  policy = policies.make(config, initial, chat, episodes=16)
  tasks = alfworld.tasks("train", **config.tasks)[:16]
  return (
    config,
    chat,
    policies.collect(config, alfworld, policy, chat, tasks, key=jax.random.key(0)),
  )


def test_scored_tokens_are_those_of_the_episode(run, tmp_path):
  config, chat, played = run
  path = episode_files.write(
    tmp_path, 1, "train", played, text=chat.text, task_type=alfworld.task_type
  )
  window = config.rollout.window
  prompt = functools.partial(alfworld.prompt, window=window) if window >= 0 else None
  for episode, record in zip(played, episode_files.read(path).episodes, strict=True):
    found = drift.episode(record, chat, prompt)
    assert (found.task, found.group, found.ended) == (episode.task, episode.group, episode.ended)
    assert len(found.turns) == len(episode.turns)
    for turn, true in zip(found.turns, episode.turns):
      assert turn.context == true.context
      np.testing.assert_array_equal(turn.reply, true.reply)
      np.testing.assert_allclose(turn.entropy, true.entropy, atol=5.1e-4)


def test_an_unchanged_policy_has_zero_kl(run, initial):
  """Its own entropies, and tokens that it draws itself."""
  config, _, played = run
  rows = by_turn(played) if config.rollout.window >= 0 else played
  batch = pack(rows, multiple=config.train.size, **config.pack)
  mean, error = drift.mean_kl(batch, initial, config)
  assert 0 < error < 0.05
  assert abs(mean) < 4 * error


def test_kl_is_minus_entropy_minus_the_initial_log_probability(initial):
  rng = np.random.default_rng(0)
  tokens, actions = rng.integers(0, 800, (2, 4, 12)).astype(np.int32)
  steps = np.zeros_like(tokens)
  steps[0, 3:6], steps[1, 2:11], steps[2, :4] = 1, 1, 2  # the last row is filler
  entropy = np.where(steps > 0, rng.uniform(0, 1, steps.shape), 0).astype(np.float32)
  zeros, ids = np.zeros(steps.shape, np.float32), np.array([0, 1, 1, 3], np.int32)
  batch = Batch(tokens, actions, steps, zeros, entropy, zeros, steps, zeros[:, 0], ids, ids)
  config = ml_collections.ConfigDict(
    dict(policy=dict(temperature=0.7), train=dict(size=2, compute_dtype="float32"))
  )
  mean, error = drift.mean_kl(batch, initial, config)
  logits = jax.jit(lambda m: m(jnp.asarray(tokens)) @ m.unembedding / 0.7)(initial)
  logp = np.asarray(jax.nn.log_softmax(logits))
  sums, counts = np.zeros(2), np.zeros(2)
  for row, t in zip(*np.nonzero(steps)):
    episode = ids[row]
    sums[episode] += -entropy[row, t] - logp[row, t, actions[row, t]]
    counts[episode] += 1
  assert mean == pytest.approx(sums.sum() / counts.sum(), rel=1e-4)
  assert error == pytest.approx(np.linalg.norm(sums - mean * counts) / counts.sum(), rel=1e-3)


def test_a_run_without_training_episodes_says_so(tmp_path):
  episode_files.write(tmp_path, 0, "valid_seen", [], text=str, task_type=str)
  with pytest.raises(FileNotFoundError, match="no episodes of a training step yet"):
    drift.training_steps(tmp_path)
